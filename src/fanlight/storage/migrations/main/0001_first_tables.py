"""The first tables of the main server."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, ForeignKey, Integer, LargeBinary, String, false

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
        Column("token_key", LargeBinary(32), nullable=False, unique=True),  # first device key for a token wins
        Column("name", String, nullable=False),
        Column("enrolment", LargeBinary, nullable=False),
        Column("enrolled_at", Integer, nullable=False),
        Column("at_aggregator", Boolean, nullable=False, server_default=false()),
        Column("revoked_at", Integer),
        Column("seen_at", Integer),
        Column("ready_plan", LargeBinary(32)),
        Column("ready_model", LargeBinary(32)),
        Column("has_model", LargeBinary(32)),
    )
    op.create_table(
        "rounds",
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("attempt", Integer, nullable=False),
        Column("kind", String, nullable=False),
        Column("mh", LargeBinary(32), unique=True),
        Column("state", String, nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("opened_at", Integer, nullable=False),
        Column("ended_at", Integer),
    )
    op.create_table(
        "replies",
        Column("request_digest", LargeBinary(32), primary_key=True),
        Column("mh", LargeBinary(32)),
        Column("reply", LargeBinary, nullable=False),
    )
    op.create_index("ix_replies_mh", "replies", ["mh"])
    op.create_table(
        "beacons",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("receipt", LargeBinary, nullable=False),
    )
    op.create_table(
        "models",
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("sha256", LargeBinary(32), nullable=False, unique=True),
        Column("created_at", Integer, nullable=False),
        Column("round", Integer),
        Column("content", LargeBinary, nullable=False),
    )
    op.create_table(
        "evaluations",
        Column("model", LargeBinary(32), primary_key=True),  # the model's sha256
        Column("counts", LargeBinary, nullable=False),
        Column("participants", Integer, nullable=False),
        Column("round", Integer, nullable=False),
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
