"""Whether the next round is summed in shards, and what became of the shards of one that was.

Shards bound what one cheat can spoil, and show main smaller sums. So by default a round has them only after one whose
sum could not be used, and until none is left out any more.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, select

from fanlight.protocol.closing import SHARD_LEFT_OUT, Outcome, ShardOutcome
from fanlight.protocol.main_round import Record, State
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.shards import Shard
from fanlight.protocol.signing import Signed
from fanlight.protocol.unmasking import KEY_LOST, SUM_LOST
from fanlight.services.main_server.policy import Policy, ShardRule
from fanlight.services.main_server.round_table import Stored
from fanlight.storage.tables.main import devices

_FEWEST: Final = 2
MOST_NAMED: Final = 50_000
"""Devices that a round can name: the list goes to the aggregator in one message of at most 1 MiB."""
_NO_CHEATS_DOING: Final = frozenset({SUM_LOST, KEY_LOST})
"""Why rounds fail that would have failed in shards too."""


def shards_of_next(policy: Policy, previous: Stored | None, cohort: int) -> int | None:
    """Into how many shards the next round is drawn; None: it has none.

    Args:
        policy: the task's.
        previous: the round before it, if any.
        cohort: devices that it is for.
    """
    count = min(policy.most_shards, cohort // policy.k_min)
    can_be = count >= _FEWEST and cohort <= MOST_NAMED
    return count if can_be and _are_wanted(policy.shards, previous) else None


def _are_wanted(rule: ShardRule, previous: Stored | None) -> bool:
    if rule != "after-failure" or previous is None:
        return rule == "always"
    if previous.at is State.ABANDONED:  # nothing came to light: it stands as before
        return previous.record.terms.shards is not None
    failed = previous.at is State.FAILED and previous.reason not in _NO_CHEATS_DOING
    return failed or previous.reason == SHARD_LEFT_OUT


def left_out(machine: MainServer, record: Record) -> dict[bytes, str]:
    """The devices whose shard was left out of the sum, each with the reason (a slug)."""
    return {
        device: told.reason
        for shard, told in _summed(machine, record)
        if told.reason != "ok"
        for device in shard.devices
    }


def count_of_sums(record: Record) -> int:
    """From how many sums the model of a round that was released was made: one, or one for each shard of use."""
    return sum(told.reason == "ok" for told in _outcomes(record)) or 1


def shard_lines(tx: Connection, machine: MainServer, record: Record) -> dict[str, Any] | None:
    """The shards of a round; None if it has none, or is not open yet.

    Returns:
        ``drawn``: how many; ``summed``: those that were, each with ``shard`` (its number), ``reason`` (``ok``, or why
        it was left out) and ``devices`` (``device``, ``name``). Main learns who is in which with the sums only.
    """
    if not record.manifest or record.terms.shards is None:
        return None
    summed = _summed(machine, record)
    known = [device for shard, _ in summed for device in shard.devices]
    names = {
        row.dev: row.name
        for row in tx.execute(select(devices.c.dev, devices.c.name).where(devices.c.dev.in_(known)))
    }  # fmt: skip
    return {
        "drawn": record.terms.shards,
        "summed": [
            {
                "shard": shard.number,
                "reason": told.reason,
                "devices": [{"device": dev.hex(), "name": names.get(dev, "")} for dev in shard.devices],
            }
            for shard, told in summed
        ],
    }


def _outcomes(record: Record) -> tuple[ShardOutcome, ...]:
    if not record.signed_outcome:
        return ()
    return Outcome.decode(Signed.decode(record.signed_outcome).payload).shards or ()


def _summed(machine: MainServer, record: Record) -> list[tuple[Shard, ShardOutcome]]:
    told = _outcomes(record)
    return list(zip(machine.shards(record), told, strict=True)) if told else []
