"""The first tables of the main server."""

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
        Column("ready_plan", LargeBinary(32)),
        Column("ready_model", LargeBinary(32)),
        Column("has_model", LargeBinary(32)),
    )
    op.create_table(
        "enrolled_at_aggregator",
        Column("dev", LargeBinary(16), primary_key=True),
        Column("token_key", LargeBinary(32), nullable=False),
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
        Column("mh", LargeBinary(32), unique=True),
        Column("state", String, nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("model", LargeBinary(32), nullable=False),
        Column("asked", String, nullable=False),
        Column("participants", Integer, nullable=False),
        Column("reason", String, nullable=False),
        Column("opened_at", Float),
        Column("ended_at", Float),
    )
    op.create_table(
        "beacons",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("report_id", LargeBinary(32), nullable=False),
        Column("receipt", LargeBinary, nullable=False),
        Column("received_at", Float, nullable=False),
    )
    op.create_table(
        "models",
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("sha256", LargeBinary(32), nullable=False, unique=True),
        Column("created_at", Float, nullable=False),
        Column("round", Integer),
        Column("published", Boolean, nullable=False, server_default=false()),
        Column("content", LargeBinary, nullable=False),
    )
    op.create_table(
        "measurements",
        Column("round", Integer, primary_key=True, autoincrement=False),
        Column("model", LargeBinary(32), nullable=False, index=True),
        Column("participants", Integer, nullable=False),
        Column("received", LargeBinary, nullable=False),
        Column("local", LargeBinary, nullable=False),
    )
    op.create_table(
        "log",
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("head", LargeBinary(32), nullable=False),
        Column("type", String, nullable=False),
        Column("payload", LargeBinary, nullable=False),
    )
    op.create_table(
        "settings",
        Column("key", String, primary_key=True),
        Column("value", LargeBinary, nullable=False),
    )
