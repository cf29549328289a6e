"""Which version is current and was, what the operator noted, which classes devices would like."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, ForeignKey, Integer, LargeBinary, String

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "current_changes",
        Column("seq", Integer, primary_key=True),
        Column("changed_at", Float, nullable=False),
        Column("from_version", Integer, nullable=False),
        Column("to_version", Integer, nullable=False),
    )
    op.create_table(
        "model_notes",
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("text", String, nullable=False),
    )
    op.create_table(
        "class_proposals",
        Column("name", String, primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("proposed_at", Float, nullable=False),
    )
