"""Rounds of changes: what is asked of their sums, when one is worth opening, and what follows from one.

The sum of such a round is over devices that have joined or changed since the sums were collected, or leave; it is added
to them. Two things keep it from telling of a single device: it is over k_min devices or more, like any; and afterwards
the sums are of k_min or more, since what two leavers take along would else show the third. The latter is judged before
the sum is known (``unfit``), and looked at again when it is (``check``).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from fanlight.learning.heads import HeadKind
from fanlight.protocol.contribution import Totals
from fanlight.protocol.exchange import Change
from fanlight.protocol.main_server import Unfit
from fanlight.protocol.manifest import Proposal
from fanlight.protocol.plan import Kind
from fanlight.protocol.unmasking import Check
from fanlight.services.main_server import collected_sums, notes, quarantine
from fanlight.services.main_server.changers import Changers
from fanlight.services.main_server.presence import Presence
from fanlight.services.main_server.round_table import RoundLine
from fanlight.services.main_server.scores import begin_anew
from fanlight.services.main_server.task import Task

COLLECTED_ANEW = "collected-anew"
"""Why a round of changes fails if there are no sums any more that they would change."""


def unfit(tx: Connection, terms: Proposal, changers: Changers) -> Unfit | None:
    """What main asks, before the sum of a round of changes is known, of the devices that it would be over."""
    if terms.kind != Kind.CHANGES:
        return None
    counted = collected_sums.devices(tx)

    def why(devices: Sequence[bytes]) -> str | None:
        left = changers.left_after(counted, terms.collection, devices)
        return collected_sums.TOO_FEW_LEFT if left < terms.k_min else None

    return why


def check(tx: Connection, terms: Proposal) -> Check | None:
    """What main asks of the sum of a round of changes: with it, the collected sums are still those of pictures."""
    if terms.kind != Kind.CHANGES:
        return None
    collected = collected_sums.read(tx)

    def why(totals: Totals) -> str | None:
        if collected is None or collected.collection != terms.collection:
            return COLLECTED_ANEW
        return collected.changed(totals, terms.round).why_impossible(terms.k_min)

    return why


def published(tx: Connection, line: RoundLine, version: int) -> None:
    """A version is out that was solved anew: what was measured before, of other pictures, counts no more."""
    if line.kind == Kind.CHANGES:
        notes.keep(tx, notes.STOPPED, 0)
        begin_anew(tx, version)


def reporting(tx: Connection, task: Task, changers: Changers, presence: Presence) -> set[bytes]:
    """The devices that would report in a round of changes now."""
    if not HeadKind(task.head).is_solved:
        return set()
    collection = collected_sums.collection(tx)
    return changers.of(collection, quarantine.invited(tx, task.policy.k_min), presence.may_be_present)


def are_enough(tx: Connection, task: Task, changers: Changers, presence: Presence) -> bool:
    """Would a round of changes have company enough, and leave enough?"""
    needed = max(task.policy.k_min, task.policy.changes_from)
    if changers.many < needed:  # before the members, who may be many, are read
        return False
    devices = reporting(tx, task, changers, presence)
    if len(devices) < needed:
        return False
    left = changers.left_after(collected_sums.devices(tx), collected_sums.collection(tx), devices)
    return left >= task.policy.k_min


def as_json(tx: Connection, task: Task, changers: Changers, presence: Presence) -> dict[str, int] | None:
    """How many devices are counted, and how many report what; None if the head is not solved, or not yet."""
    if collected_sums.collection(tx) is None or not HeadKind(task.head).is_solved:
        return None
    counts = changers.counts(reporting(tx, task, changers, presence))
    needed = max(task.policy.k_min, task.policy.changes_from)
    said = {change.value: counts[change] for change in Change}
    return {"counted": collected_sums.devices(tx), "needed": needed, **said}
