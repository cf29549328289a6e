"""The reports that this server holds, without their vectors, in its database; in the caller's transaction.

A row outlives its vector: a device that asks again gets the same receipt when the round is over, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.report import Envelope
from fanlight.storage.tables.aggregator import refusals, reports, rounds


@dataclass(frozen=True)
class Kept:
    """A report's row: what the machine holds of it, the name of its vector's file, and the signed receipt."""

    held: Held
    file: str
    receipt: bytes


def keep(tx: Connection, mh: bytes, kept: Kept, now: float) -> None:
    """Keep a report whose vector lies durably in its file."""
    held = kept.held
    values = {"envelope": held.envelope.encode(), "file": kept.file, "receipt": kept.receipt, "received_at": now}
    tx.execute(insert(reports).values(mh=mh, dev=held.device, **values))


def find(tx: Connection, mh: bytes, device: bytes) -> Kept | None:
    """A device's report for a round, if it is here."""
    row = tx.execute(select(reports).where(reports.c.mh == mh, reports.c.dev == device)).first()
    return Kept(Held(row.dev, Envelope.decode(row.envelope)), row.file, row.receipt) if row else None


def of_round(tx: Connection, mh: bytes) -> list[Held]:
    """All reports of a round, by device."""
    found = select(reports.c.dev, reports.c.envelope).where(reports.c.mh == mh).order_by(reports.c.dev)
    return [Held(row.dev, Envelope.decode(row.envelope)) for row in tx.execute(found)]


def files(tx: Connection, mh: bytes) -> dict[bytes, str]:
    """The names of the vectors' files of a round, by device."""
    return {row.dev: row.file for row in tx.execute(select(reports.c.dev, reports.c.file).where(reports.c.mh == mh))}


def count(tx: Connection, mh: bytes) -> int:
    """How many reports there are for a round."""
    return int(tx.execute(select(func.count()).select_from(reports).where(reports.c.mh == mh)).scalar_one())


def counts(tx: Connection, hashes: Sequence[bytes]) -> dict[bytes, int]:
    """How many there are for each of some rounds, by manifest hash; rounds without any are left out."""
    found = select(reports.c.mh, func.count()).where(reports.c.mh.in_(hashes)).group_by(reports.c.mh)
    return {row.mh: int(row[1]) for row in tx.execute(found)}


def forget(tx: Connection, device: bytes) -> None:
    """Delete the receipts and envelopes of a device that has left.

    What it has handed in for the newest round stays until that is over: a set from which one was taken would give that
    one away.
    """
    newest = select(rounds.c.mh).order_by(rounds.c.number.desc()).limit(1)
    tx.execute(delete(reports).where(reports.c.dev == device, reports.c.mh.not_in(newest)))
    tx.execute(delete(refusals).where(refusals.c.dev == device))
