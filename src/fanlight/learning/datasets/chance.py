"""Chance for drawing and splitting: a few distributions on top of the injected generator.

Seeded by name and number, and independent of NumPy's generators, so that a seed means the same pictures on every
machine and under every version. Never used for anything that must stay secret.
"""

from __future__ import annotations

import hashlib
import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream

ScalarT = TypeVar("ScalarT", bound=np.generic)

_STEPS = 2**53


class Chance:
    """Draws that a seed repeats.

    Args:
        purpose: what is drawn; different purposes with one seed have nothing in common.
        seed: 0 or more.
    """

    def __init__(self, purpose: str, seed: int) -> None:
        self._stream = Keystream(hashlib.sha256(f"fanlight/datasets/{purpose}/{seed}".encode()).digest())

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high)."""
        return low + (high - low) * (self._stream.below(_STEPS) / _STEPS)

    def shuffled(self, values: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """The values (n,) in random order."""
        return values[self._stream.permutation(len(values))]

    def half_dirichlet(self, count: int) -> NDArray[np.float64]:
        """(count,) shares from the symmetric Dirichlet distribution of concentration 1/2; they sum to 1.

        A squared normal number has a gamma distribution of shape 1/2, and gamma numbers over their sum are Dirichlet.
        """
        squares = np.array([self._normal() ** 2 for _ in range(count)])
        shares: NDArray[np.float64] = squares / squares.sum()
        return shares

    def _normal(self) -> float:
        """Box and Muller 1958, the cosine branch."""
        return math.sqrt(-2.0 * math.log(1.0 - self.uniform())) * math.cos(2.0 * math.pi * self.uniform())
