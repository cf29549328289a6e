"""What the server's part of an algorithm remembers, with each version of the model: going back restores it."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, String

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; versions from before remember nothing."""
    op.create_table(
        "algorithm_memories",
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("algorithm", String, nullable=False),
        Column("choice", String, nullable=False),
        Column("content", LargeBinary, nullable=False),
    )
