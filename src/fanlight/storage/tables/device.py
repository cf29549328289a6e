"""What a device keeps: which training it has already answered, its reports until acknowledged, what rounds brought."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table

metadata = MetaData()

settings = Table(
    "settings",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

answered = Table(
    "answered",
    metadata,
    Column("plan", LargeBinary(32), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("model", LargeBinary(32), primary_key=True),
    Column("mh", LargeBinary(32), nullable=False),
    Column("answered_at", Integer, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("header", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
)

rounds = Table(
    "rounds",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("mh", LargeBinary(32), nullable=False, unique=True),
    Column("state", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("ended_at", Integer),
)

log = Table(
    "log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("head", LargeBinary(32), nullable=False),
    Column("type", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
