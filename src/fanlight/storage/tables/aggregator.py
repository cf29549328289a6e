"""What the secure aggregator keeps: members, rounds, masked reports until their release, its log."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, LargeBinary, MetaData, String, Table, false

from fanlight.storage.tables.server import log_tables, member_tables

metadata = MetaData()

members = member_tables(
    metadata,
    Column("told_main", Boolean, nullable=False, server_default=false()),
)

devices = members.devices

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
    Column("start", Integer, nullable=False, server_default="0"),  # byte of the file at which the vector begins
    Column("receipt", LargeBinary, nullable=False),
    Column("received_at", Float, nullable=False),
)

refusals = Table(
    "refusals",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("reason", String, primary_key=True),
    Column("times", Integer, nullable=False),
    Column("last_at", Float, nullable=False),
)

log, log_times = logs = log_tables(metadata)
