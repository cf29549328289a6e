"""The devices of a fleet that do not do what is asked: in each round they know one another's honest updates."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.algorithms.local import Outcome
from fanlight.simulation.cheats import Cheats


@dataclass
class Gang:
    """Cheats at live servers.

    Attributes:
        cheats: what they do, and who they are.
        devices: of the whole fleet; they take it for the round.
    """

    cheats: Cheats
    devices: int
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _mh: bytes = b""
    _learned: Mapping[int, Outcome] = field(default_factory=dict)
    _sent: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)

    def crafted(
        self, mh: bytes, round_number: int, device: int, present: Sequence[int], learn: Callable[[int], Outcome]
    ) -> tuple[Outcome, NDArray[np.float64]]:
        """What a cheat has learned in the round ``mh``, and what it sends; the first one to ask works out all of them.

        Args:
            mh, round_number: the round.
            device: who asks.
            present: those of the fleet who could report in it.
            learn: an honest device's part.
        """
        with self._lock:
            if self._mh != mh:
                together = sorted(self.cheats.who & {*present, device})
                learned = {each: learn(each) for each in together}
                honest = {each: outcome.update for each, outcome in learned.items()}
                self._sent = self.cheats.sent(round_number, honest, self.devices)
                self._mh, self._learned = mh, learned
            return self._learned[device], self._sent[device]
