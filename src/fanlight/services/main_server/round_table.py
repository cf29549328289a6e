"""The rounds in main's database: what is asked of the table, in the caller's transaction."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from fanlight.errors import Conflict
from fanlight.protocol.exchange import Order
from fanlight.protocol.main_round import TERMINAL, Record, State
from fanlight.protocol.plan import Kind
from fanlight.services.main_server import made_room
from fanlight.services.server.round_rows import Records, RoundRows
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import beacons, rounds

_WHOLE: Final = RoundRows(rounds, tuple(rounds.c))
_LINES: Final = RoundRows(rounds, tuple(column for column in rounds.c if column.name != "record"))

records: Final = Records(Record)

count, counts = _WHOLE.count, _WHOLE.counts

_INSERT: Final = Statement(
    insert(rounds), "number", "kind", "mh", "state", "model", "asked", "participants", "reason", "record"
)
_NEWEST_RECORDS: Final = Statement(select(rounds.c.record).order_by(rounds.c.number.desc()).limit(bindparam("most")))
_REPORTS: Final = Statement(select(beacons.c.dev, beacons.c.report_id).where(beacons.c.mh == bindparam("wanted")))
_ARRIVED: Final = Statement(select(func.count()).select_from(beacons).where(beacons.c.mh == bindparam("wanted")))

_MADE_ROOM: Final = rounds.c.reason.startswith(made_room.PREFIX, autoescape=True)
_COUNTED: Final = select(func.count()).select_from(rounds).where(~_MADE_ROOM)
_TAUGHT: Final = Statement(_COUNTED.where(rounds.c.kind != Kind.MEASURE.value, rounds.c.kind != Kind.CHANGES.value))
_MEASURED: Final = Statement(_COUNTED.where(rounds.c.kind == Kind.MEASURE.value, rounds.c.model == bindparam("start")))


@dataclass(frozen=True)
class RoundLine:
    """A round without the machine's record, which can be large.

    Attributes:
        number, kind, state: as in the record.
        mh: manifest hash; empty while it is only proposed.
        model: SHA-256 of the model it starts from.
        asked: what the aggregator is asked to do with it.
        participants: devices in the sum, 0 before.
        reason: why it failed or was abandoned.
        opened_at, ended_at: unix seconds; judged_at, released_at: when its close was judged, when its sum arrived.
        lasted_s: seconds from its opening to its end, whatever the clock on the wall said; None: not over or not known.
    """

    number: int
    kind: str
    mh: bytes
    state: str
    model: bytes
    asked: Order
    participants: int
    reason: str
    opened_at: float | None
    ended_at: float | None
    judged_at: float | None
    released_at: float | None
    lasted_s: float | None

    @property
    def at(self) -> State:
        """The state."""
        return State(self.state)

    @property
    def is_over(self) -> bool:
        """Does nothing follow any more?"""
        return self.at in TERMINAL


@dataclass(frozen=True)
class Stored(RoundLine):
    """A round with the machine's record."""

    record: Record


def latest(tx: Connection) -> Stored | None:
    """The newest round, if any."""
    row = _WHOLE.newest(tx)
    return _stored(row) if row else None


def named(tx: Connection, mh: bytes) -> Stored:
    """The round with this manifest; the newest one, which may only be proposed yet, if there is none with it.

    Raises:
        Conflict: there is no round.
    """
    row = _WHOLE.find(tx, mh) or _WHOLE.newest(tx)
    if row is None:
        raise Conflict("There is no round.", slug="no-round")
    return _stored(row)


def latest_line(tx: Connection) -> RoundLine | None:
    """The newest round without its record, if any."""
    row = _LINES.newest(tx)
    return _line(row) if row else None


def lines(tx: Connection) -> list[RoundLine]:
    """All rounds, oldest first."""
    return [_line(row) for row in _LINES.every(tx)]


def page(tx: Connection, offset: int, limit: int) -> list[RoundLine]:
    """Some of the rounds, newest first."""
    return [_line(row) for row in _LINES.page(tx, offset, limit)]


def numbered(tx: Connection, number: int) -> RoundLine:
    """The round of this number.

    Raises:
        NotFound: there is none.
    """
    return _line(_LINES.numbered(tx, number))


def count_measured(tx: Connection, model: bytes) -> int:
    """How many measuring rounds there are of that model; those that made room do not count."""
    return int(_MEASURED.scalar(tx, start=model))


def count_taught(tx: Connection) -> int:
    """How many rounds there are that teach; those of changes do not count, nor those that made room."""
    return int(_TAUGHT.scalar(tx))


def whole(tx: Connection, number: int) -> Stored:
    """The round of this number, with its record.

    Raises:
        NotFound: there is none.
    """
    return _stored(_WHOLE.numbered(tx, number))


def newest(tx: Connection, count: int) -> list[Record]:
    """The records of the newest ``count`` rounds, newest first."""
    rows = _NEWEST_RECORDS.all(tx, most=count)
    return [records.decode(row.record) for row in rows]


def opened_from(tx: Connection, number: int) -> Stored | None:
    """The first round from ``number`` on that was opened."""
    found = select(rounds).where(rounds.c.number >= number, rounds.c.mh.is_not(None)).order_by(rounds.c.number).limit(1)
    row = tx.execute(found).first()
    return _stored(row) if row else None


def find(tx: Connection, mh: bytes) -> Stored | None:
    """The round with this manifest, if there is one."""
    row = _WHOLE.find(tx, mh)
    return _stored(row) if row else None


def withdraw(tx: Connection, number: int) -> None:
    """Forget a round that was only proposed: its number is spent."""
    tx.execute(delete(rounds).where(rounds.c.number == number, rounds.c.state == State.PROPOSED.value))


def by_hash(tx: Connection, mh: bytes) -> Stored:
    """The round with this manifest.

    Raises:
        NotFound: there is none.
    """
    return _stored(_WHOLE.by_hash(tx, mh))


def save(tx: Connection, record: Record, now: float, lasted_s: float | None, **values: Any) -> None:
    """Store a changed record; ``ended_at`` and ``lasted_s`` are set when it comes to its end."""
    columns = columns_of(record) | values
    if State(record.state) in TERMINAL:
        _update(*columns, ends=True).run(tx, wanted=record.number, now=now, lasted=lasted_s, **columns)
    else:
        _update(*columns).run(tx, wanted=record.number, **columns)


def add(tx: Connection, record: Record, kind: Kind, model: bytes) -> None:
    """Store a new round."""
    values = {"model": model, "asked": Order.NONE.value, "participants": 0, "reason": ""}
    _INSERT.run(tx, number=record.number, kind=kind.value, **values, **columns_of(record))


def ask(tx: Connection, number: int, order: Order, reason: str) -> None:
    """Store what the aggregator is asked to do with a round, and why."""
    _update("asked", "reason").run(tx, wanted=number, asked=order.value, reason=reason)


def columns_of(record: Record) -> dict[str, Any]:
    """The columns that follow from the record."""
    return {"mh": record.mh or None, "state": record.state, "record": records.encode(record)}


def reports_by_device(tx: Connection, mh: bytes) -> dict[bytes, bytes]:
    """Report id by device, of the receipts for a round."""
    return {row.dev: row.report_id for row in _REPORTS.all(tx, wanted=mh)}


def arrived(tx: Connection, mh: bytes) -> int:
    """How many receipts there are for a round."""
    return int(_ARRIVED.scalar(tx, wanted=mh))


@functools.cache
def _update(*columns: str, ends: bool = False) -> Statement:
    """Change some columns of the round whose number is ``wanted``, which ends now or not."""
    change = update(rounds).where(rounds.c.number == bindparam("wanted"))
    if ends:
        ended_at = func.coalesce(rounds.c.ended_at, bindparam("now"))
        change = change.values(ended_at=ended_at, lasted_s=func.coalesce(rounds.c.lasted_s, bindparam("lasted")))
    return Statement(change, *columns)


def _stored(row: Any) -> Stored:
    return Stored(**_values(row), record=records.decode(row.record))


def _line(row: Any) -> RoundLine:
    return RoundLine(**_values(row))


def _values(row: Any) -> dict[str, Any]:
    return {
        "number": row.number,
        "kind": row.kind,
        "mh": row.mh or b"",
        "state": row.state,
        "model": row.model,
        "asked": Order(row.asked),
        "participants": row.participants,
        "reason": row.reason,
        "opened_at": row.opened_at,
        "ended_at": row.ended_at,
        "judged_at": row.judged_at,
        "released_at": row.released_at,
        "lasted_s": row.lasted_s,
    }
