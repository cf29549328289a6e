"""Proof that the servers lied to this device: two outcomes of one round, both signed.

An abandoned round may be answered again with the same update.  Were it released all the same, two sums with this
device in them could come to light whose sets of devices differ in one.  So the outcome of a round that was called
abandoned is asked for once more when a later round is offered, and both outcomes are kept if they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import Record
from fanlight.storage.database import Database
from fanlight.storage.statements import Statement
from fanlight.storage.tables.device import contradictions, reports, rounds

_ABANDONED: Final = Statement(
    select(reports.c.record)
    .join(rounds, rounds.c.mh == reports.c.mh)
    .where(
        rounds.c.result == Result.ABANDONED.value,
        rounds.c.number < bindparam("number"),
        rounds.c.asked_again.is_(False),
    )
)
_CONTRADICTIONS: Final = Statement(select(contradictions).order_by(contradictions.c.number))


@dataclass(frozen=True)
class Contradiction:
    """Two signed outcomes of one round: ``first`` and ``second`` are ``SignedOutcome`` messages; unix seconds."""

    mh: bytes
    number: int
    first: bytes
    second: bytes
    found_at: int
    acknowledged_at: int | None


@dataclass(frozen=True)
class Evidence:
    """The part of a device's database that holds it."""

    database: Database

    def abandoned_before(self, number: int) -> list[Record]:
        """Reports of rounds before ``number`` that ended as abandoned and have not been asked for again."""
        with self.database.reading() as tx:
            return [Record.decode(row.record) for row in _ABANDONED.all(tx, number=number)]

    def asked_again(self, record: Record, second: bytes | None, now: int) -> None:
        """Keep that the outcome of an ended round was asked for again, and the ``second`` one if it is another."""
        values = {"number": record.number, "first": record.outcome, "second": second, "found_at": now}
        with self.database.transaction() as tx:
            tx.execute(update(rounds).where(rounds.c.mh == record.mh).values(asked_again=True))
            if second is not None:
                tx.execute(upsert(contradictions).values(mh=record.mh, **values).on_conflict_do_nothing())

    def contradictions(self) -> list[Contradiction]:
        """Rounds of which two outcomes were signed, the first round first."""
        with self.database.reading() as tx:
            rows = _CONTRADICTIONS.all(tx)
        return [Contradiction(*row) for row in rows]

    @property
    def unacknowledged(self) -> bool:
        """Is there a contradiction that the owner has not said to know of?"""
        return any(found.acknowledged_at is None for found in self.contradictions())

    def acknowledge(self, now: int) -> None:
        """The owner knows of them, and goes on."""
        columns = contradictions.c
        with self.database.transaction() as tx:
            tx.execute(update(contradictions).where(columns.acknowledged_at.is_(None)).values(acknowledged_at=now))
