"""When devices had which model and announced for it; when a round was judged and its sum arrived."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, ForeignKey, LargeBinary

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and the columns."""
    op.create_table(
        "device_models",
        Column("model", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("fetched_at", Float),
        Column("ready_at", Float),
    )
    op.add_column("rounds", Column("judged_at", Float))
    op.add_column("rounds", Column("released_at", Float))
