"""Every round and report of a device's life, to be looked at: nothing here decides what is answered or sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, func, select

from fanlight.protocol.device_round import Record
from fanlight.services.device.learned import Learned
from fanlight.storage.database import Database
from fanlight.storage.tables.device import reports, rounds

_NEWEST_ROUND: Final = (rounds.c.number.desc(), reports.c.committed_at.desc())
"""A moment is too coarse: rounds take less than a second."""


@dataclass(frozen=True)
class RoundLine:
    """One round of the history; ``result``, ``reason`` and ``included`` are None until it is over.

    ``reason`` is the round's, or why the shard was left out that its report was in.
    ``at`` is when its report was built (unix seconds).
    """

    mh: bytes
    number: int
    kind: str
    learned: Learned
    result: str | None
    reason: str | None
    included: bool | None
    at: int | None


@dataclass(frozen=True)
class Past:
    """The part of a device's database that is read here; ``DeviceStore`` writes it."""

    database: Database

    def rounds(self, newest: int | None = None, skip: int = 0) -> list[RoundLine]:
        """The history, or the ``newest`` rounds of it after the ``skip`` newest, the first round first."""
        with self.database.reading() as tx:
            found = select(rounds, reports.c.committed_at).outerjoin(reports, reports.c.mh == rounds.c.mh)
            rows = tx.execute(found.order_by(*_NEWEST_ROUND).limit(newest).offset(skip)).all()
        return [_round_line(row) for row in reversed(rows)]

    def count_rounds(self) -> int:
        """How many rounds the history has."""
        with self.database.reading() as tx:
            return tx.execute(select(func.count()).select_from(rounds)).scalar_one()

    def reports(self, newest: int | None = None, skip: int = 0) -> list[Record]:
        """All reports, or the ``newest`` so many after the ``skip`` newest, the first round first."""
        found = select(reports.c.record).join(rounds, rounds.c.mh == reports.c.mh)
        with self.database.reading() as tx:
            rows = tx.execute(found.order_by(*_NEWEST_ROUND).limit(newest).offset(skip)).all()
        return [Record.decode(row.record) for row in reversed(rows)]

    def count_reports(self) -> int:
        """How many reports there are."""
        with self.database.reading() as tx:
            return tx.execute(select(func.count()).select_from(reports)).scalar_one()


def _round_line(row: Row[Any]) -> RoundLine:
    learned = Learned.decode(row.learned)
    return RoundLine(row.mh, row.number, row.kind, learned, row.result, row.reason, row.included, row.committed_at)
