"""What a device keeps: what it has answered, its reports, what rounds brought, refusals, proofs, and its pictures."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table, false

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
    Column("delivery", String, nullable=False, index=True),
    Column("record", LargeBinary, nullable=False),
    Column("committed_at", Integer, nullable=False, index=True),
)

rounds = Table(
    "rounds",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("number", Integer, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("learned", LargeBinary, nullable=False),
    Column("result", String, index=True),
    Column("reason", String),
    Column("included", Boolean),
    Column("asked_again", Boolean, nullable=False, default=False),
)

small_files = Table(
    "small_files",  # models and reports' vectors, as files that are too large are called
    metadata,
    Column("name", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

memories = Table(
    "memories",  # what trainings have this device remember, for algorithms that have it do so
    metadata,
    Column("number", Integer, primary_key=True),
    Column("head", LargeBinary(32), nullable=False),  # the local model that it was trained with
    Column("mh", LargeBinary(32), unique=True),  # the round that it went into
    Column("counted", Boolean, nullable=False, server_default=false()),  # was it in the sum of a released one
    Column("algorithm", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
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

pictures = Table(
    "pictures",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("path", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("label", String),
    Column("part", String, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("sharpness", Float, nullable=False),
    Column("perceptual_hash", LargeBinary(8), nullable=False),
    Column("added_at", Integer, nullable=False),
    Column("suggestion", String),
    Column("confidence", Float),
    Column("suggested_by", LargeBinary(32)),
    Column("colours", LargeBinary(192)),
)

picture_sides = Table(
    "picture_sides",  # the part that a picture once had here, for as long as the picture is there
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("side", String, nullable=False),
)

picture_files = Table(
    "picture_files",
    metadata,
    Column("path", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("modified_ns", Integer, nullable=False),
    Column("sha256", String(64), index=True),
    Column("problem", String),
)

picture_moves = Table(
    "picture_moves",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("moves", LargeBinary, nullable=False),
    Column("moved_at", Integer, nullable=False),
)

own_names = Table(
    "own_names",  # that only this home knows
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("kind", String),  # the task's class that it is one of
    Column("counts", Boolean, nullable=False, server_default=false()),  # do its pictures count as that class's
)

home_models = Table(
    "home_models",  # the head that knows them; there is one row
    metadata,
    Column("number", Integer, primary_key=True),
    Column("made_of", LargeBinary(32), nullable=False),  # digest of the global model, the names and the labels
    Column("head", LargeBinary, nullable=False),
    Column("familiar", LargeBinary),
    Column("findings", LargeBinary, nullable=False),
    Column("made_at", Integer, nullable=False),
)
