"""What the secure aggregator keeps: members, rounds, masked reports until their release, signed replies, its log."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table

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
    Column("revoked_at", Integer),
    Column("seen_at", Integer),
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

reports = Table(
    "reports",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("report_id", LargeBinary(32), nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("sealed_main", LargeBinary, nullable=False),
    Column("sealed_aggregator", LargeBinary, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("received_at", Integer, nullable=False),
)

replies = Table(
    "replies",
    metadata,
    Column("request_digest", LargeBinary(32), primary_key=True),
    Column("mh", LargeBinary(32), index=True),
    Column("reply", LargeBinary, nullable=False),
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
