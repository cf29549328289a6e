"""What the main server keeps: members, rounds, signed replies, beacons, models and what they measured, its log."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    false,
)

metadata = MetaData()

devices = Table(
    "devices",
    metadata,
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

rounds = Table(
    "rounds",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("mh", LargeBinary(32), unique=True),
    Column("state", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("opened_at", Integer, nullable=False),
    Column("ended_at", Integer),
)

replies = Table(
    "replies",
    metadata,
    Column("request_digest", LargeBinary(32), primary_key=True),
    Column("mh", LargeBinary(32), index=True),
    Column("reply", LargeBinary, nullable=False),
)

beacons = Table(
    "beacons",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("receipt", LargeBinary, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", Integer, nullable=False),
    Column("round", Integer),
    Column("content", LargeBinary, nullable=False),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("model", LargeBinary(32), primary_key=True),  # the model's sha256
    Column("counts", LargeBinary, nullable=False),
    Column("participants", Integer, nullable=False),
    Column("round", Integer, nullable=False),
)

log = Table(
    "log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("head", LargeBinary(32), nullable=False),
    Column("type", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
