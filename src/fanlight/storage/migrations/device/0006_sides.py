"""The part that each picture has, for training, validation or testing, is kept when others come."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; pictures keep the parts that they have."""
    op.create_table(
        "picture_sides",
        Column("sha256", String(64), primary_key=True),
        Column("side", String, nullable=False),
    )
    op.execute("INSERT INTO picture_sides SELECT sha256, part FROM pictures WHERE part <> ''")
