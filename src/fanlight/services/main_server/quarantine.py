"""Devices that are left out of some rounds, since a report of theirs could not be opened and its round was given up.

Why. A round may reject a share of its reports, ``r_max``, and no more: that bounds whom main can leave out of a sum
once it knows who has reported. One device of fewer than ten, whose seed does not open, is more than that share: every
round that it reports in is given up, for ever. To let that one pass would give a lying main what ``r_max`` takes from
it. To name a cohort without the device gives it nothing: whom a round asks is in the manifest, which both servers sign
before anybody reports, and main may draw whom it likes anyway.

Who. Only whose seed does not open: the device has signed that seed's hash, so nobody else, not even a lying aggregator,
can bring it here. Whatever else reports are rejected for, the aggregator should not have listed.

How long. ``FIRST_ROUNDS``, twice as many each further time, at most ``MOST_ROUNDS``; counted in rounds, since a round
is what each try costs the others. It ends sooner by the operator's word; a report that is accepted ends the counting.
If fewer than k_min devices were left nobody is left out, and pauses grow instead (``brake``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from fanlight.errors import NotFound
from fanlight.protocol import codec
from fanlight.protocol.closing import Verdict
from fanlight.protocol.log import LogEntry
from fanlight.services.main_server import members, round_table
from fanlight.services.main_server.sharding import MOST_NAMED
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.incidents import QUARANTINED
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import devices, quarantined

READMITTED: Final = "readmitted"
"""Type of the log entry: the operator lets a device take part again; its payload is the device's id."""
UNOPENABLE: Final = "seed-unopenable"
"""Why such a report is rejected."""
FIRST_ROUNDS: Final = 4
MOST_ROUNDS: Final = 256

_LEFT_OUT: Final = Statement(select(quarantined.c.dev).where(quarantined.c.until > bindparam("number")))
_TIMES: Final = Statement(select(quarantined.c.times).where(quarantined.c.dev == bindparam("wanted")))
_ROW: Final = insert(quarantined)
_KEEP: Final = Statement(
    _ROW.on_conflict_do_update(
        index_elements=["dev"], set_={"times": _ROW.excluded.times, "until": _ROW.excluded.until}
    )
)
_ALL: Final = Statement(select(quarantined.c.dev))
_FORGIVE: Final = Statement(delete(quarantined).where(quarantined.c.dev == bindparam("wanted")))
_NAMED: Final = Statement(
    select(devices.c.dev, devices.c.name, quarantined.c.until)
    .join(quarantined, quarantined.c.dev == devices.c.dev)
    .where(quarantined.c.until > bindparam("number"), devices.c.revoked_at.is_(None))
    .order_by(devices.c.name)
)


def invited(tx: Connection, k_min: int) -> Mapping[bytes, bytes]:
    """Public key by device, of the confirmed members that the next round may ask; all, if others were too few."""
    everybody = members.confirmed(tx)
    out = {row.dev for row in _LEFT_OUT.all(tx, number=_next(tx))}
    rest = {device: key for device, key in everybody.items() if device not in out}
    return rest if k_min <= len(rest) <= MOST_NAMED else everybody


def take_verdict(tx: Connection, log: ChainedLog, verdict: Verdict, number: int) -> None:
    """What follows from main's verdict on round ``number``."""
    for row in _ALL.all(tx):
        if row.dev in verdict.accepted:
            _FORGIVE.run(tx, wanted=row.dev)
    if verdict.proceed:  # it has cost the others nothing
        return
    for rejection in verdict.rejected:
        if rejection.reason == UNOPENABLE:
            times = (_TIMES.scalar(tx, wanted=rejection.device) or 0) + 1
            until = number + 1 + min(FIRST_ROUNDS << min(times - 1, 16), MOST_ROUNDS)
            _KEEP.run(tx, dev=rejection.device, times=times, until=until)
            log.append(tx, [LogEntry(QUARANTINED, codec.encode([rejection.device, number, until]))])


def readmit(tx: Connection, log: ChainedLog, device: bytes) -> None:
    """Let a device take part again from the next round on: the operator has looked at it.

    Raises:
        NotFound: it is not left out.
    """
    if _TIMES.scalar(tx, wanted=device) is None:
        raise NotFound("This device is not left out of rounds.", slug="not-left-out")
    _FORGIVE.run(tx, wanted=device)
    log.append(tx, [LogEntry(READMITTED, device)])


def listed(tx: Connection, k_min: int) -> list[dict[str, Any]]:
    """Members whose report could not be opened: ``device``, ``name``, ``until`` (the round that asks it again).

    ``left_out``: is it, or would the others be too few?
    """
    rows = _NAMED.all(tx, number=_next(tx))
    asked = invited(tx, k_min) if rows else {}
    return [
        {"device": row.dev.hex(), "name": row.name, "until": row.until, "left_out": row.dev not in asked}
        for row in rows
    ]  # fmt: skip


def _next(tx: Connection) -> int:
    line = round_table.latest_line(tx)
    return line.number + 1 if line is not None else 1
