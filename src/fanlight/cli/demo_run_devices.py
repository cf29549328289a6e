"""What becomes of a demo when one of its processes ends.

A device is started again: its state folder lets it go on where it was.  One that ends again soon after is left out, for
as long as enough others are left.  Without a server, or with fewer devices than a round needs, the demo is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fanlight.cli.processes import Processes
from fanlight.errors import LocalError

SERVERS = ("main", "aggregator")
FEWEST_DEVICES = 2
SOON_S = 30.0


@dataclass
class Survival:
    """Keeps a demo going.

    Args:
        processes: the two servers by the names in ``SERVERS``; all others are devices.
        say: tells the person.
        clock: seconds, monotonic.
    """

    processes: Processes
    say: Callable[..., None]
    clock: Callable[[], float] = time.monotonic
    _started_again: dict[str, float] = field(default_factory=dict)

    def runs(self, name: str) -> bool:
        """Has this one not been left out?"""
        return name not in self.processes.left_out

    def check(self) -> None:
        """See who has ended, and do something about it.

        Raises:
            LocalError: a server has ended, fewer than ``FEWEST_DEVICES`` devices are left, or a device cannot be
                started again.
        """
        ended = self.processes.ended()
        for name in SERVERS:
            if name in ended:
                raise ended[name]
        for name, death in ended.items():
            self._lost(name, death)

    def _lost(self, name: str, death: LocalError) -> None:
        last = self._started_again.get(name)
        if last is None or self.clock() - last >= SOON_S:
            self._started_again[name] = self.clock()
            self.say(*death.message.splitlines(), f"{name} is started again.")
            self.processes.start_again(name)
            return
        self.processes.leave_out(name)
        left = len(self.processes.running.keys() - set(SERVERS))
        if left < FEWEST_DEVICES:
            raise death
        self.say(*death.message.splitlines(), f"{name} is left out; the demo goes on with {left} devices.")
