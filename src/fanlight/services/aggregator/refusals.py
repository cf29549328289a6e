"""Reports that were refused before they were taken: whose, in which round, why, how often.

One line for a device, a round and a reason, so that nobody can make it grow by sending again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from fanlight.storage.tables.aggregator import devices, refusals, rounds


def note(tx: Connection, mh: bytes, device: bytes, reason: str, now: float) -> bool:
    """A device's report was refused for ``reason`` (a slug); False if that was known already.

    Nothing is kept of rounds that there are not, so of these it never was.
    """
    if tx.execute(select(rounds.c.number).where(rounds.c.mh == mh)).first() is None:
        return True
    same = refusals.c.mh == mh, refusals.c.dev == device, refusals.c.reason == reason
    again = update(refusals).where(*same).values(times=refusals.c.times + 1, last_at=now)
    if tx.execute(again).rowcount:
        return False
    tx.execute(insert(refusals).values(mh=mh, dev=device, reason=reason, times=1, last_at=now))
    return True


def of_rounds(tx: Connection, hashes: Sequence[bytes]) -> dict[bytes, list[dict[str, Any]]]:
    """By manifest hash: ``device``, ``name``, ``reason`` (a slug), ``times``, ``last_at``; the latest first."""
    found: dict[bytes, list[dict[str, Any]]] = {mh: [] for mh in hashes}
    rows = tx.execute(
        select(refusals, devices.c.name)
        .join(devices, devices.c.dev == refusals.c.dev)
        .where(refusals.c.mh.in_(hashes))
        .order_by(refusals.c.last_at.desc())
    )
    for row in rows:
        found[row.mh].append(
            {
                "device": row.dev.hex(),
                "name": row.name,
                "reason": row.reason,
                "times": row.times,
                "last_at": row.last_at,
            }
        )
    return found
