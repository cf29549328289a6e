"""The first tables of the device."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, String

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "settings",
        Column("key", String, primary_key=True),
        Column("value", LargeBinary, nullable=False),
    )
    op.create_table(
        "answered",
        Column("plan", LargeBinary(32), primary_key=True),
        Column("attempt", Integer, primary_key=True, autoincrement=False),
        Column("model", LargeBinary(32), primary_key=True),
        Column("mh", LargeBinary(32), nullable=False),
        Column("answered_at", Integer, nullable=False),
    )
    op.create_table(
        "reports",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("header", LargeBinary, nullable=False),
        Column("envelope", LargeBinary, nullable=False),
        Column("state", String, nullable=False),
    )
    op.create_table(
        "rounds",
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("mh", LargeBinary(32), nullable=False, unique=True),
        Column("state", String, nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("ended_at", Integer),
    )
    op.create_table(
        "log",
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("head", LargeBinary(32), nullable=False),
        Column("type", String, nullable=False),
        Column("payload", LargeBinary, nullable=False),
    )
