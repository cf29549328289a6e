"""Small files lie in the database. Those that are files already stay so until they are deleted."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary, String

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "small_files",
        Column("name", String, primary_key=True),
        Column("content", LargeBinary, nullable=False),
    )
