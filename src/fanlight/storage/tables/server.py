"""Tables that both servers have: members, their changes of key, revocations, the hash-chained log."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Column, Float, ForeignKey, Integer, LargeBinary, MetaData, String, Table


class MemberTables(NamedTuple):
    """A server's tables of its members."""

    devices: Table
    rekeys: Table
    revocations: Table


def member_tables(metadata: MetaData, *more: Column[Any]) -> MemberTables:
    """All tables of members; the devices have ``more`` columns of the role's own."""
    return MemberTables(devices_table(metadata, *more), rekeys_table(metadata), revocations_table(metadata))


def devices_table(metadata: MetaData, *more: Column[Any]) -> Table:
    """Members, with ``more`` columns of the role's own."""
    return Table(
        "devices",
        metadata,
        Column("dev", LargeBinary(16), primary_key=True),
        Column("public_key", LargeBinary(32), nullable=False, unique=True),
        Column("token_key", LargeBinary(32), nullable=False, unique=True),  # first device key for a token wins
        Column("name", String, nullable=False),
        Column("enrolment", LargeBinary, nullable=False),
        Column("enrolled_at", Integer, nullable=False),
        Column("revoked_at", Integer),
        Column("left_at", Integer),
        *more,
    )


def rekeys_table(metadata: MetaData) -> Table:
    """Every key that a device changed to, and the message that did it."""
    return Table(
        "rekeys",
        metadata,
        Column("public_key", LargeBinary(32), primary_key=True),
        Column("dev", LargeBinary(16), ForeignKey("devices.dev"), nullable=False),
        Column("message", LargeBinary, nullable=False),
    )


def revocations_table(metadata: MetaData) -> Table:
    """Devices and tokens that the root has revoked, known here or not."""
    return Table(
        "revocations",
        metadata,
        Column("subject", LargeBinary, primary_key=True),
        Column("message", LargeBinary, nullable=False),
    )


class LogTables(NamedTuple):
    """The log, and beside it when its entries were made: the chain does not speak of time."""

    entries: Table
    times: Table


def log_tables(metadata: MetaData) -> LogTables:
    """Both tables of the log."""
    times = Table(
        "log_times",
        metadata,
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("at", Float, nullable=False),
    )
    return LogTables(log_table(metadata), times)


def log_table(metadata: MetaData) -> Table:
    """The log itself."""
    return Table(
        "log",
        metadata,
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("head", LargeBinary(32), nullable=False),
        Column("type", String, nullable=False),
        Column("payload", LargeBinary, nullable=False),
    )
