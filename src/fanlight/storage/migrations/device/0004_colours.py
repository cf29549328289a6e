"""The colours of pictures, by which near-duplicates are told from others with the same perceptual hash."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; every file is read once more, in the background, as if it had changed."""
    op.add_column("pictures", Column("colours", LargeBinary(192)))
    op.execute("UPDATE picture_files SET size = -1 WHERE sha256 IS NOT NULL")
