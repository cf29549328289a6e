"""Who is at work, and who has reported, where the server waits for nobody (FedBuff, Nguyen et al. 2106.06639, 3).

``concurrency`` devices are at work at once. The server moves the model as soon as ``size`` of them have reported, and
then gives their places to others, which begin from the version that has just been made. The rest go on: their updates
will be for an older version, which the server keeps as long as one of them is at work. Staleness is how many versions
it has made meanwhile. In the paper a place is given anew at once; who began before the server moves would begin from
the same version, so this costs time and no freshness. A device that drops out gives its place away when its report
would have come. With as many places as the buffer takes, all begin together and nothing is stale: FedAvg's rounds.

How long a device takes follows from the world, on its clock; without one it is drawn as in the paper, half-normal. It
follows from the seed, the device and the round in which it began, never from what is learned: so who reports when is
the same for any engine. What a world says of rounds that open (``over``, ``deadline``, ``every``) has no place here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fanlight.simulation.seeds import chance
from fanlight.simulation.worlds.course import LOOK_AGAIN_S, Course
from fanlight.simulation.worlds.hardware import Work
from fanlight.simulation.worlds.world import STEPS, World


class AtWork(NamedTuple):
    """A device that has begun.

    Attributes:
        device: which.
        version: that it began from.
        ready_s: when its report comes, on the simulated clock.
        goes: of ``STEPS``, the one at which it drops out; empty = it does not.
    """

    device: int
    version: int
    ready_s: float
    goes: str = ""


@dataclass(frozen=True)
class Buffer:
    """Between two rounds.

    Attributes:
        version: how many the server has made so.
        at_work: who has begun, and not reported.
        arrived: who has reported, where too few have.
    """

    version: int = 0
    at_work: tuple[AtWork, ...] = ()
    arrived: tuple[AtWork, ...] = ()

    @property
    def begun_from(self) -> frozenset[int]:
        """The versions that updates to come are for."""
        return frozenset(each.version for each in (*self.at_work, *self.arrived))

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"version": self.version, "at_work": self.at_work, "arrived": self.arrived}

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Self:
        """What ``as_json`` gave."""
        at_work, arrived = (tuple(AtWork(*each) for each in said[name]) for name in ("at_work", "arrived"))
        return cls(said["version"], at_work, arrived)


def collect(
    before: Buffer,
    world: World,
    round_number: int,
    at_s: float,
    seconds: NDArray[np.float64],
    *,
    size: int,
    concurrency: int,
    able: NDArray[np.bool_],
) -> tuple[Course, Buffer, Mapping[int, tuple[int, ...]]]:
    """From one move of the server to the next.

    Args:
        before: how the last one left it.
        world: where.
        round_number: from 1.
        at_s: when the last one was, on the simulated clock.
        seconds: (devices,) what it takes those that begin now, see ``durations``.
        size: updates that the server waits for, at least 1.
        concurrency: places, at least ``size``.
        able: (devices,) who can take part at all.

    Returns:
        How it went; what it leaves; and the devices whose updates are summed, by staleness. The course has failed where
        nobody is there to go on.
    """
    now, asked, dropped = at_s, list[int](), dict.fromkeys(STEPS, 0)
    at_work, arrived, free = list(before.at_work), list(before.arrived), able.copy()
    free[[each.device for each in (*at_work, *arrived)]] = False
    goes = _goes(world, round_number)
    while len(arrived) < size:
        if places := concurrency - len(at_work) - len(arrived):
            begin = world.cohort(round_number, places, now, free)
            at_work += [AtWork(each, before.version, now + float(seconds[each]), goes[each]) for each in begin]
            asked += begin
            free[begin] = False  # also for those that drop out: nobody is asked twice in a round
        if not at_work:
            break
        first = min(at_work, key=lambda each: (each.ready_s, each.device))
        at_work.remove(first)
        now = max(now, first.ready_s)
        if first.goes:
            dropped[first.goes] += 1
        else:
            arrived.append(first)
    failed = len(arrived) < size
    reported = [] if failed else arrived
    course = Course(
        opened_s=at_s,
        ended_s=now + LOOK_AGAIN_S * failed,
        present=int(world.present(round_number, at_s).sum()),
        asked=tuple(sorted(asked)),
        reported=tuple(sorted(each.device for each in reported)),
        dropped=dropped,
        late=0,
        failed=failed,
    )
    after = Buffer(before.version + (not failed), tuple(at_work), tuple(arrived) if failed else ())
    return course, after, _by_staleness(before.version, reported)


def durations(world: World, round_number: int, work: Work | None) -> NDArray[np.float64]:
    """(devices,) seconds that it takes those that begin in a round; of some unit, where there is no clock.

    Args:
        world: where.
        round_number: from 1.
        work: what is asked of them; None = the study has no world, so it is drawn.
    """
    if work is not None:
        return world.arrivals(round_number, work)
    drawn: NDArray[np.float64] = np.abs(chance(world.seed, f"fedbuff/{round_number}").normals(world.devices))
    return drawn


def staleness_figures(parts: Mapping[int, tuple[int, ...]]) -> dict[str, float]:
    """Mean and greatest staleness of devices by staleness, of which there are some."""
    counts = {staleness: len(devices) for staleness, devices in parts.items()}
    mean = sum(staleness * count for staleness, count in counts.items()) / sum(counts.values())
    return {"mean": mean, "max": max(counts)}


def flaw_of(world: World, *, size: int, concurrency: int, devices: int, is_opened: bool, crafts: bool) -> str:
    """Why a study cannot go so; empty if it can.

    Args:
        world, size, concurrency: see ``collect``; a size of 0 was not given.
        devices: how many there are.
        is_opened: do servers open its rounds?
        crafts: are there cheats that make up what they send?
    """
    if not size:
        return "cohort says how many updates the server waits for; give it, smaller than devices"
    if not size <= concurrency <= devices:
        return f"concurrency={concurrency} is below the cohort of {size}, or above the {devices} devices"
    if is_opened:
        return "no round of the protocol sums updates for several versions; leave out fidelity=protocol and shards"
    if world.over_percent or world.deadline_s:
        return "no round is opened that could have a deadline or ask for more; leave over and deadline out of world"
    if crafts:
        return "cheats that make up updates are simulated in rounds; choose label-flip, or backdoor without factor"
    return ""


def _by_staleness(version: int, reported: list[AtWork]) -> dict[int, tuple[int, ...]]:
    found = dict[int, list[int]]()
    for each in reported:
        found.setdefault(version - each.version, []).append(each.device)
    return {staleness: tuple(sorted(found[staleness])) for staleness in sorted(found)}


def _goes(world: World, round_number: int) -> list[str]:
    """(devices,) the step at which those that begin in this round drop out; empty = they do not."""
    found = np.full(world.devices, "", dtype=object)
    for step in reversed(STEPS):
        found[world.drops(round_number, step)] = step
    return list(found)
