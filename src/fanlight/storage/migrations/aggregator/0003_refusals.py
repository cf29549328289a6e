"""Whose report was refused in which round, and why."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, ForeignKey, Integer, LargeBinary, String

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "refusals",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("reason", String, primary_key=True),
        Column("times", Integer, nullable=False),
        Column("last_at", Float, nullable=False),
    )
