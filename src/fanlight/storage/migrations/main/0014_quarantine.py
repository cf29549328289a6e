"""Devices that are left out of some rounds."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey, Integer, LargeBinary

revision = "0014"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "quarantined",
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("times", Integer, nullable=False),
        Column("until", Integer, nullable=False),
    )
