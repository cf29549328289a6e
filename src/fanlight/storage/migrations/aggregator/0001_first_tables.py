"""The first tables of the secure aggregator."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, LargeBinary, String, false

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "devices",
        Column("dev", LargeBinary(16), primary_key=True),
        Column("public_key", LargeBinary(32), nullable=False, unique=True),
        Column("token_key", LargeBinary(32), nullable=False, unique=True),
        Column("name", String, nullable=False),
        Column("enrolment", LargeBinary, nullable=False),
        Column("enrolled_at", Integer, nullable=False),
        Column("revoked_at", Integer),
        Column("told_main", Boolean, nullable=False, server_default=false()),
    )
    op.create_table(
        "rekeys",
        Column("public_key", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), nullable=False),
        Column("message", LargeBinary, nullable=False),
    )
    op.create_table(
        "revocations",
        Column("subject", LargeBinary, primary_key=True),
        Column("message", LargeBinary, nullable=False),
    )
    op.create_table(
        "rounds",
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("kind", String, nullable=False),
        Column("mh", LargeBinary(32), unique=True, nullable=False),
        Column("state", String, nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("told_main", Boolean, nullable=False, server_default=false()),
        Column("opened_at", Float, nullable=False),
        Column("ended_at", Float),
    )
    op.create_table(
        "reports",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("envelope", LargeBinary, nullable=False),
        Column("file", String, nullable=False),
        Column("receipt", LargeBinary, nullable=False),
        Column("received_at", Float, nullable=False),
    )
    op.create_table(
        "log",
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("head", LargeBinary(32), nullable=False),
        Column("type", String, nullable=False),
        Column("payload", LargeBinary, nullable=False),
    )
