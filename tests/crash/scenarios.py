"""What a federation lives through while its processes die: rounds of every kind, and members that come and go.

A scenario is a federation with a task and a policy of its own, and a ``cycle`` that can be repeated without end: what
has died is started again, the owners press on until all of it is done, and then nothing is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fanlight.learning.datasets import shapes
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Task
from tests.crash.federation import SERVERS, Federation
from tests.crash.on_own_backbones import LifeOfAMember, Statistics
from tests.crash.owners_at_work import OwnersAtWork
from tests.crash.rounds_by_themselves import ByThemselves, Shards
from tests.large_reports import MANY_CLASSES


class LargeReports(Federation):
    """By hand, with reports of 1.6 MB: they come in parts, and go on where they were cut."""

    def task_of(self, policy: Policy, **fields: Any) -> Task:
        """Of 200 classes, most of which nobody has pictures of, and of 2,024 features."""
        classes = (*shapes.CLASSES, *MANY_CLASSES)[: len(MANY_CLASSES)]
        return super().task_of(policy, classes=classes, backbone="efficientnet-lite0-levels", **fields)


@dataclass(frozen=True)
class Scenario:
    """How a federation is made that lives through it, of how many devices, and who may die in it.

    Attributes:
        name: of files and tests.
        make: from an empty folder, and a folder of pictures for each device.
        devices: how many there are at first.
        again: parts of labels: what they name does here what it does in no scenario before.
        by_chance: likewise: whether they are reached in a cycle of this scenario hangs on who is faster.
        later: victims of a cycle; devices that do the same are tried once. In a first start one of each kind dies.
    """

    name: str
    make: Callable[[Path, tuple[Path, ...]], Federation]
    devices: int = 2
    again: tuple[str, ...] = ()
    by_chance: tuple[str, ...] = ()
    later: tuple[str, ...] = (*SERVERS, "device-1")


FIRST: Final = (*SERVERS, "device-1")
BY_HAND: Final = Scenario("by-hand", Federation)
_SUMS: Final = ("Rounds.release", "Rounds.publish", "DeviceStore.commit", "DeviceStore.finish")
_IN_SHARDS: Final = ("Rounds.close", "Rounds.judge", "Rounds.release", "reports/#.sum")
SCENARIOS: Final = (
    BY_HAND,
    Scenario("large-reports", LargeReports),
    Scenario("by-themselves", ByThemselves, again=("Rounds.abandon", "Rounds.take_outcome", "DeviceStore.finish")),
    Scenario("shards", Shards, devices=4, again=_IN_SHARDS),
    Scenario("statistics", Statistics, again=_SUMS),
    Scenario("owners-at-work", OwnersAtWork, by_chance=("Index.put_files",)),  # if somebody looks while files are moved
    Scenario(
        "life-of-a-member",
        LifeOfAMember,
        devices=3,
        # has a newcomer the backbone before the next cycle begins? does the way back meet a round that is open already?
        by_chance=("file backbones/", "Promotion.change_now"),
        later=(*SERVERS, "device-1", "leaver"),
    ),
)
