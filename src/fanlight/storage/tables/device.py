"""What a device keeps: what it has answered, its reports, what rounds brought, refusals, proofs of two outcomes."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, LargeBinary, MetaData, String, Table

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
    Column("answer_key", LargeBinary(32), primary_key=True),
    Column("mh", LargeBinary(32), nullable=False, unique=True),
)

reports = Table(
    "reports",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("delivery", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("committed_at", Integer, nullable=False),
)

rounds = Table(
    "rounds",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("learned", LargeBinary, nullable=False),
    Column("result", String),
    Column("reason", String),
    Column("included", Boolean),
    Column("asked_again", Boolean, nullable=False, default=False),
)

contradictions = Table(
    "contradictions",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("first", LargeBinary, nullable=False),
    Column("second", LargeBinary, nullable=False),
    Column("found_at", Integer, nullable=False),
    Column("acknowledged_at", Integer),
)

refusals = Table(
    "refusals",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("slug", String, primary_key=True),
    Column("message", String, nullable=False),
    Column("next", String, nullable=False),
    Column("refused_at", Integer, nullable=False),
)
