"""The rounds in the aggregator's database: what is asked of the table, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, update

from fanlight.errors import NotPossibleNow
from fanlight.protocol.aggregator_round import TERMINAL, Record
from fanlight.services.server.round_rows import Records, RoundRows
from fanlight.storage.statements import Statement
from fanlight.storage.tables.aggregator import rounds

_ROUNDS: Final = RoundRows(rounds, tuple(rounds.c))

records: Final = Records(Record)

count, counts = _ROUNDS.count, _ROUNDS.counts

_COLUMNS: Final = ("mh", "state", "record")
_CHANGE: Final = update(rounds).where(rounds.c.number == bindparam("wanted"))
_ENDS: Final = func.coalesce(rounds.c.ended_at, bindparam("now"))
_INSERT: Final = Statement(insert(rounds), "number", "kind", "opened_at", *_COLUMNS)
_SAVE: Final = Statement(_CHANGE, *_COLUMNS)
_END: Final = Statement(_CHANGE.values(ended_at=_ENDS), *_COLUMNS)
_TOLD_MAIN: Final = Statement(_CHANGE, "told_main")


@dataclass(frozen=True)
class Stored:
    """A round with what the aggregator keeps beside the machine's record.

    Attributes:
        record: the machine's.
        told_main: does main have our word on how it ended.
        opened_at, ended_at: unix seconds.
    """

    record: Record
    told_main: bool
    opened_at: float
    ended_at: float | None


def latest(tx: Connection) -> Stored | None:
    """The newest round, if any."""
    row = _ROUNDS.newest(tx)
    return _stored(row) if row else None


def current(tx: Connection) -> Stored:
    """The newest round.

    Raises:
        NotPossibleNow: there is none.
    """
    stored = latest(tx)
    if stored is None:
        raise no_round()
    return stored


def by_hash(tx: Connection, mh: bytes) -> Stored:
    """The round with this manifest.

    Raises:
        NotFound: there is none.
    """
    return _stored(_ROUNDS.by_hash(tx, mh))


def numbered(tx: Connection, number: int) -> Stored:
    """The round of this number.

    Raises:
        NotFound: there is none.
    """
    return _stored(_ROUNDS.numbered(tx, number))


def every(tx: Connection) -> list[Stored]:
    """All rounds, oldest first."""
    return [_stored(row) for row in _ROUNDS.every(tx)]


def page(tx: Connection, offset: int, limit: int) -> list[Stored]:
    """Some of the rounds, newest first: each comes with its close, which can be large."""
    return [_stored(row) for row in _ROUNDS.page(tx, offset, limit)]


def begin(tx: Connection, record: Record, kind: str, now: float) -> None:
    """Store a new round."""
    values = {"number": record.number, "kind": kind, "opened_at": now}
    _INSERT.run(tx, **values, **_columns(record))


def save(tx: Connection, record: Record, now: float) -> None:
    """Store a changed record; ``ended_at`` is set when it comes to its end."""
    columns = _columns(record)
    if record.at in TERMINAL:
        _END.run(tx, wanted=record.number, now=now, **columns)
    else:
        _SAVE.run(tx, wanted=record.number, **columns)


def told_main(tx: Connection, number: int) -> None:
    """Main has our word on how round ``number`` ended."""
    _TOLD_MAIN.run(tx, wanted=number, told_main=True)


def no_round() -> NotPossibleNow:
    """The error while there was no round yet."""
    return NotPossibleNow(
        "There was no round yet.",
        next="A round opens when enough devices are enrolled at both servers.",
        slug="no-open-round",
    )


def _columns(record: Record) -> dict[str, Any]:
    return {"mh": record.mh, "state": record.state, "record": records.encode(record)}


def _stored(row: Any) -> Stored:
    return Stored(records.decode(row.record), row.told_main, row.opened_at, row.ended_at)
