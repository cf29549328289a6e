"""What a server has seen that should not happen: kept in its log, and shown to the operator.

A token used by two devices has leaked or was copied. A receipt for a report that the aggregator did not list, or two
receipts for different reports of one device in one round, are proof against the aggregator. In a shard whose sum cannot
be right, a device has sent garbage; so it has where main cannot open a seed whose hash the device has signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from fanlight.protocol.catching_up import RESTORED
from fanlight.protocol.closing import SHARD_LEFT_OUT
from fanlight.services.server.chained_log import ChainedLog

TOKEN_CONFLICT: Final = "token-conflict"  # noqa: S105 - a type of log entry
SECOND_RECEIPT: Final = "second-receipt"
UNLISTED_RECEIPT: Final = "unlisted-receipt"
QUARANTINED: Final = "quarantined"

MEANINGS: Final = {
    TOKEN_CONFLICT: "A second device tried to enrol with a token that was used: the token was copied or has leaked.",
    SECOND_RECEIPT: "The secure aggregator has signed two different receipts for one device in one round.",
    SHARD_LEFT_OUT: "The sum of a shard could not be right, and was left out: one of its devices has sent garbage.",
    QUARANTINED: "A device's report could not be opened, and its round was given up. The page Devices says whose.",
    RESTORED: "This server's state had been put back from an older copy; it took a round over from the other server.",
    UNLISTED_RECEIPT: "The secure aggregator has signed a receipt for a report that it then left out of its list.",
}
_SHOWN: Final = 100


@dataclass(frozen=True)
class Incident:
    """One entry: its number in the log, its type, and what that means."""

    entry: int
    type: str
    meaning: str


def incidents(tx: Connection, log: ChainedLog) -> list[Incident]:
    """The latest incidents, newest first, at most 100."""
    columns = log.table.c
    found = select(columns.seq, columns.type).where(columns.type.in_(MEANINGS)).order_by(columns.seq.desc())
    return [Incident(row.seq, row.type, MEANINGS[row.type]) for row in tx.execute(found.limit(_SHOWN))]


def incident_count(tx: Connection, log: ChainedLog) -> int:
    """How many there are."""
    columns = log.table.c
    statement = select(func.count()).select_from(log.table).where(columns.type.in_(MEANINGS))
    return int(tx.execute(statement).scalar_one())
