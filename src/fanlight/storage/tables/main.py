"""What the main server keeps: members, rounds, beacons, models and what they measured, its log."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Integer, LargeBinary, MetaData, String, Table, false

from fanlight.storage.tables.server import log_tables, member_tables

metadata = MetaData()

members = member_tables(
    metadata,
    Column("ready_plan", LargeBinary(32)),
    Column("ready_model", LargeBinary(32)),
    Column("has_model", LargeBinary(32)),
)

enrolled_at_aggregator = Table(
    "enrolled_at_aggregator",
    metadata,
    Column("dev", LargeBinary(16), primary_key=True),
    Column("token_key", LargeBinary(32), nullable=False),
)

devices = members.devices

rounds = Table(
    "rounds",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("mh", LargeBinary(32), unique=True),
    Column("state", String, nullable=False),
    Column("model", LargeBinary(32), nullable=False, index=True),  # the model it starts from
    Column("asked", String, nullable=False),  # what the aggregator is asked to do with it
    Column("participants", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Column("opened_at", Float),
    Column("ended_at", Float),
    Column("judged_at", Float),
    Column("released_at", Float),
    Column("lasted_s", Float),  # from its opening to its end, where both were in one process
    Column("record", LargeBinary, nullable=False),  # last: SQLite reads through it to get at what stands behind it
)

beacons = Table(
    "beacons",
    metadata,
    Column("mh", LargeBinary(32), primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("report_id", LargeBinary(32), nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("received_at", Float, nullable=False),
)

device_models = Table(
    "device_models",  # what devices have said of models, and when
    metadata,
    Column("model", LargeBinary(32), primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("fetched_at", Float),
    Column("ready_at", Float),  # trained from it, with the task's plan
)

models = Table(
    "models",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("round", Integer, index=True),
    Column("published", Boolean, nullable=False, server_default=false()),
    Column("size", Integer, nullable=False, server_default="0"),  # of its file, bytes
)

algorithm_memories = Table(
    "algorithm_memories",  # by which algorithm a version was made, as JSON too, and what its server remembers with it
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("algorithm", String, nullable=False),
    Column("choice", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

measurements = Table(
    "measurements",
    metadata,
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("model", LargeBinary(32), nullable=False, index=True),  # the model that was received
    Column("participants", Integer, nullable=False),
    Column("received", LargeBinary, nullable=False),
    Column("local", LargeBinary, nullable=False),
)

collected_sums = Table(
    "collected_sums",  # what the head is solved from: one row at most
    metadata,
    Column("round", Integer, primary_key=True, autoincrement=False),  # that made it
    Column("collection", Integer, nullable=False, server_default="0"),  # the round that began to collect it
    Column("devices", Integer, nullable=False),
    Column("examples", LargeBinary, nullable=False),
    Column("supporters", LargeBinary, nullable=False),
    Column("class_sums", LargeBinary, nullable=False),
    Column("gram", LargeBinary, nullable=False),
)

solutions = Table(
    "solutions",  # how versions that were solved were
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("devices", Integer, nullable=False),
    Column("pictures", Integer, nullable=False),
    Column("strength", Float),
    Column("held_out_error", Float),
    Column("collection", Integer),  # the round that began to collect the sums
    Column("changed", Integer),  # the round of changes that it was solved after
)

taught_by = Table(
    "taught_by",  # what a version was made from: training pictures in its sum, all and, of sums, of each class
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("devices", Integer, nullable=False),
    Column("pictures", Integer, nullable=False),
    Column("per_class", LargeBinary),
)

current_changes = Table(
    "current_changes",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("changed_at", Float, nullable=False),
    Column("from_version", Integer, nullable=False),
    Column("to_version", Integer, nullable=False),
    Column("reason", String, nullable=False, server_default="by-hand"),
)

model_notes = Table(
    "model_notes",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", String, nullable=False),
)

class_proposals = Table(
    "class_proposals",
    metadata,
    Column("name", String, primary_key=True),
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("proposed_at", Float, nullable=False),
)

quarantined = Table(
    "quarantined",  # who sent what could not be opened, how often, and the first round that asks it again
    metadata,
    Column("dev", LargeBinary(16), ForeignKey("devices.dev"), primary_key=True),
    Column("times", Integer, nullable=False),
    Column("until", Integer, nullable=False),
)

log, log_times = logs = log_tables(metadata)

settings = Table(
    "settings",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
