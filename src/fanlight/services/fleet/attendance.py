"""Who of a fleet takes part in which round, as its world says; everybody else's clock is the servers'."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from fanlight.simulation.worlds.world import World


@dataclass(frozen=True, eq=False)
class Attendance:
    """Drawn once for each round.

    Attributes:
        world: whose availability goes by rounds, see ``terms.check_study``.
    """

    world: World

    @functools.lru_cache(maxsize=4)  # noqa: B019 there is one of them in a process
    def reporters(self, round_number: int) -> frozenset[int]:
        """Who builds a report, if it can; who is away, or goes before that, says nothing to anybody."""
        there = self.world.present(round_number)
        for step in ("model", "train"):
            there = there & ~self.world.drops(round_number, step)
        return frozenset(there.nonzero()[0].tolist())

    @functools.lru_cache(maxsize=4)  # noqa: B019 likewise
    def breaks_off(self, round_number: int) -> frozenset[int]:
        """Whose report is built, and never sent."""
        return frozenset(self.world.drops(round_number, "report").nonzero()[0].tolist())
