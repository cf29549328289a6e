"""When each entry of the log was made; earlier ones stay without a time."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, Integer

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "log_times",
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("at", Float, nullable=False),
    )
