"""The course of one round in a world: whom it asks, who drops out where, who is late, and how long it takes.

As in a deployed federation, main asks more devices than it needs (``over``), goes on as soon as the cohort's number has
reported, and at the deadline with those who have. It does not see devices drop out: without a deadline it would wait
for ever, so then they count as having said so. What devices compute does not matter to any of this; so only those who
report need to be simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.simulation.worlds.hardware import Work
from fanlight.simulation.worlds.world import STEPS, World

LOOK_AGAIN_S: Final = 600.0
"""Main asks again so much later when too few are there, in a world without deadline."""


@dataclass(frozen=True)
class Course:
    """What became of a round.

    Attributes:
        opened_s, ended_s: simulated clock.
        present: members that were there.
        asked: devices that were asked.
        reported: those whose reports came in time, by device.
        dropped: how many went at each step.
        late: how many reports came after the deadline, or when there were enough.
        failed: were too few there, or too few reports in time, for a sum?
    """

    opened_s: float
    ended_s: float
    present: int
    asked: tuple[int, ...]
    reported: tuple[int, ...]
    dropped: Mapping[str, int]
    late: int
    failed: bool

    @property
    def fetched(self) -> int:
        """How many got the model."""
        return len(self.asked) - self.dropped["model"]

    @property
    def sent(self) -> int:
        """How many reports were sent as a whole, in time or late."""
        return len(self.reported) + self.late

    def as_json(self) -> dict[str, Any]:
        """For ``result.json``."""
        return {
            "present": self.present,
            "asked": len(self.asked),
            "dropped": dict(self.dropped),
            "late": self.late,
            "failed": self.failed,
            "opened_s": self.opened_s,
        }


def run(
    world: World,
    round_number: int,
    at_s: float,
    work: Work,
    *,
    size: int = 0,
    fewest_asked: int = 1,
    fewest_reports: int = 1,
    able: NDArray[np.bool_] | None = None,
) -> Course:
    """A round that begins at ``at_s``.

    Args:
        world: where.
        round_number: from 1.
        at_s: seconds of the simulated clock.
        work: what the round asks of each device.
        size: reports that are wanted; 0 = of all that are there.
        fewest_asked: devices that a round needs to begin, at least 1.
        fewest_reports: reports that a sum needs, at least 1.
        able: (devices,) who can take part at all; None = all.
    """
    asked = np.array(world.cohort(round_number, size, at_s, able), np.int64)
    staying, dropped = asked, dict[str, int]()
    for step in STEPS:
        goes = world.drops(round_number, step)[staying]
        dropped[step], staying = int(goes.sum()), staying[~goes]
    arrivals = world.arrivals(round_number, work)[staying]
    in_time, seconds = _in_time(arrivals, size or asked.size, asked.size, world.deadline_s)
    failed = asked.size < fewest_asked or in_time.size < fewest_reports
    if failed:
        seconds = max(seconds, world.deadline_s or LOOK_AGAIN_S)
    return Course(
        opened_s=at_s,
        ended_s=at_s + seconds,
        present=int(world.present(round_number, at_s).sum()),
        asked=tuple(asked.tolist()),
        reported=tuple(sorted(staying[in_time].tolist())),
        dropped=dropped,
        late=staying.size - in_time.size,
        failed=failed,
    )


def _in_time(
    arrivals: NDArray[np.float64], wanted: int, asked: int, deadline_s: float
) -> tuple[NDArray[np.int64], float]:
    """Positions of the arrivals that count, and how long the round is open."""
    first = np.argsort(arrivals, kind="stable")[:wanted]
    if deadline_s:
        first = first[arrivals[first] <= deadline_s]
        if first.size < min(wanted, asked):
            return first, deadline_s
    return first, float(arrivals[first].max(initial=0.0))
