"""Joiners and leavers: from which round on a device is a member, and until which.

``join:0.5,from=5,to=10``: half of the devices are not there at first, and join evenly over rounds 5 to 10;
``leave:0.2,from=8``: a fifth of them leaves before round 8, for good. Who it is falls by lot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.terms import Term
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.seeds import chance

NEVER: Final = 1 << 31
_LAST: Final = 1_000_000


@dataclass(frozen=True)
class Membership:
    """(devices,) first round of each as a member, and first round after it has left."""

    joins: NDArray[np.int64]
    leaves: NDArray[np.int64]

    def members(self, round_number: int) -> NDArray[np.bool_]:
        """(devices,) who is a member in a round."""
        found: NDArray[np.bool_] = (self.joins <= round_number) & (round_number < self.leaves)
        return found


def membership_of(join: Term | None, leave: Term | None, devices: int, seed: int) -> Membership:
    """Who joins and leaves when.

    Raises:
        SettingsError: a share or a round is out of range.
    """
    return Membership(
        _rounds(join, devices, chance(seed, "world/join"), otherwise=1),
        _rounds(leave, devices, chance(seed, "world/leave"), otherwise=NEVER),
    )


def _rounds(term: Term | None, devices: int, chance: Chance, otherwise: int) -> NDArray[np.int64]:
    rounds = np.full(devices, otherwise, np.int64)
    if term is None:
        return rounds
    example = f"{term.name}:0.3,from=5,to=10"
    term.takes(example, "from", "to", value=True)
    share = term.number(example, low=0, high=1)
    first = int(term.of("from", example, low=2, high=_LAST))
    last = int(term.of("to", example, low=first, high=_LAST, default=float(first)))
    chosen = chance.shuffled(np.arange(devices))[: round(share * devices)]
    rounds[chosen] = first + np.arange(chosen.size) * (last - first + 1) // max(chosen.size, 1)
    return rounds
