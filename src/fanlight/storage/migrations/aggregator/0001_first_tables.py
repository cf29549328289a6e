"""The first tables of the aggregator."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, String

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
        Column("revoked_at", Integer),
        Column("seen_at", Integer),
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
        "reports",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
        Column("report_id", LargeBinary(32), nullable=False),
        Column("header", LargeBinary, nullable=False),
        Column("sealed_main", LargeBinary, nullable=False),
        Column("sealed_aggregator", LargeBinary, nullable=False),
        Column("receipt", LargeBinary, nullable=False),
        Column("received_at", Integer, nullable=False),
    )
    op.create_table(
        "replies",
        Column("request_digest", LargeBinary(32), primary_key=True),
        Column("mh", LargeBinary(32)),
        Column("reply", LargeBinary, nullable=False),
    )
    op.create_index("ix_replies_mh", "replies", ["mh"])
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
