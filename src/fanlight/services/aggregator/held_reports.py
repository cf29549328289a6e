"""The reports that this server holds, without their vectors, in its database; in the caller's transaction.

A row outlives its vector: a device that asks again gets the same receipt when the round is over, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.report import Envelope
from fanlight.storage.statements import Statement
from fanlight.storage.tables.aggregator import refusals, reports, rounds

_THIS_ROUND: Final = reports.c.mh == bindparam("wanted")
_INSERT: Final = Statement(insert(reports))
_OF_ROUND: Final = Statement(select(reports.c.dev, reports.c.envelope).where(_THIS_ROUND).order_by(reports.c.dev))
_PLACES: Final = Statement(select(reports.c.dev, reports.c.file, reports.c.start).where(_THIS_ROUND))
_COUNT: Final = Statement(select(func.count()).select_from(reports).where(_THIS_ROUND))
_FIND: Final = Statement(select(reports).where(_THIS_ROUND, reports.c.dev == bindparam("device")))


class Place(NamedTuple):
    """Where a vector lies: the name of its file, and the byte at which it begins."""

    file: str
    start: int = 0


@dataclass(frozen=True)
class Kept:
    """A report's row: its round, what the machine holds of it, where its vector lies, and the signed receipt."""

    mh: bytes
    held: Held
    place: Place
    receipt: bytes


def keep(tx: Connection, kept: Sequence[Kept], now: float) -> None:
    """Keep reports whose vectors lie durably in their files."""
    for one in kept:
        _INSERT.run(
            tx,
            mh=one.mh,
            dev=one.held.device,
            envelope=one.held.envelope.encode(),
            file=one.place.file,
            start=one.place.start,
            receipt=one.receipt,
            received_at=now,
        )


def find(tx: Connection, mh: bytes, device: bytes) -> Kept | None:
    """What is here of a device for a round."""
    row = _FIND.first(tx, wanted=mh, device=device)
    if row is None:
        return None
    held = Held(row.dev, Envelope.decode(row.envelope))
    return Kept(row.mh, held, Place(row.file, row.start), row.receipt)


def of_round(tx: Connection, mh: bytes) -> list[Held]:
    """All reports of a round, by device."""
    return [Held(row.dev, Envelope.decode(row.envelope)) for row in _OF_ROUND.all(tx, wanted=mh)]


def places(tx: Connection, mh: bytes) -> dict[bytes, Place]:
    """Where the vectors of a round lie, by device."""
    return {row.dev: Place(row.file, row.start) for row in _PLACES.all(tx, wanted=mh)}


def files(tx: Connection, mh: bytes) -> set[str]:
    """The names of all files with vectors of a round."""
    return {place.file for place in places(tx, mh).values()}


def count(tx: Connection, mh: bytes) -> int:
    """How many reports there are for a round."""
    return int(_COUNT.scalar(tx, wanted=mh))


def forget(tx: Connection, device: bytes) -> None:
    """Delete the receipts and envelopes of a device that has left.

    What it has handed in for the newest round stays until that is over: a set from which one was taken would give that
    one away.
    """
    newest = select(rounds.c.mh).order_by(rounds.c.number.desc()).limit(1)
    tx.execute(delete(reports).where(reports.c.dev == device, reports.c.mh.not_in(newest)))
    tx.execute(delete(refusals).where(refusals.c.dev == device))
