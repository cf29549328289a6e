"""Which devices have left by their own will."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time, in unix seconds."""
    op.add_column("devices", Column("left_at", Integer))
