"""What the secure aggregator keeps: members, rounds, masked reports until their release, its log."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, LargeBinary, MetaData, String, Table, false

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
    Column("told_main", Boolean, nullable=False, server_default=false()),
)

rekeys = Table(
    "rekeys",
    metadata,
    Column("public_key", LargeBinary(32), primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), nullable=False),
    Column("message", LargeBinary, nullable=False),
)

rounds = Table(
    "rounds",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("mh", LargeBinary(32), unique=True, nullable=False),
    Column("state", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("told_main", Boolean, nullable=False, server_default=false()),  # main has our word on the outcome
    Column("opened_at", Float, nullable=False),
    Column("ended_at", Float),
)

reports = Table(
    "reports",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("envelope", LargeBinary, nullable=False),
    Column("file", String, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("received_at", Float, nullable=False),
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
