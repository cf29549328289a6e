"""Chance for drawing and splitting: a few distributions on top of the injected generator.

Seeded by name and number, and independent of NumPy's generators, so that a seed means the same pictures on every
machine and under every version. Never used for anything that must stay secret.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.errors import SettingsError

ScalarT = TypeVar("ScalarT", bound=np.generic)
Doubles = NDArray[np.float64]

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

    def uniforms(self, count: int) -> Doubles:
        """(count,) numbers in [0, 1); the same as so many single ones."""
        drawn = np.frombuffer(self._stream.bytes(8 * count), np.dtype("<u8"))
        numbers: Doubles = (drawn % _STEPS) / _STEPS
        return numbers

    def normals(self, count: int) -> Doubles:
        """(count,) numbers from the standard normal distribution (Box and Muller 1958, the cosine branch)."""
        first, second = self.uniforms(2 * count).reshape(2, count)
        numbers: Doubles = np.sqrt(-2.0 * np.log(1.0 - first)) * np.cos(2.0 * np.pi * second)
        return numbers

    def shuffled(self, values: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """The values (n,) in random order."""
        return values[self._stream.permutation(len(values))]

    def dirichlet(self, concentration: float, count: int) -> Doubles:
        """(count,) shares from the symmetric Dirichlet distribution; they sum to 1.

        Gamma numbers over their sum are Dirichlet. They are drawn as logarithms: with a concentration of 0.01 most of
        them would be zero as they are.

        Raises:
            SettingsError: the concentration is not positive, or ``count`` is below 1.
        """
        if not 0.0 < concentration < np.inf or count < 1:
            raise SettingsError(f"there is no Dirichlet distribution of {count} shares with {concentration}")
        logarithms = self._log_gammas(concentration, count)
        shares: Doubles = np.exp(logarithms - logarithms.max())
        shares /= shares.sum()
        return shares

    def _log_gammas(self, shape: float, count: int) -> Doubles:
        """Marsaglia and Tsang 2000; for shapes below 1, G(a) = G(a + 1)·U^(1/a) (their section 6)."""
        boosted = shape if shape >= 1.0 else shape + 1.0
        d = boosted - 1.0 / 3.0
        logarithms, open_places = np.empty(count), np.arange(count)
        while open_places.size:
            x = self.normals(open_places.size)
            u = 1.0 - self.uniforms(open_places.size)
            v = (1.0 + x / np.sqrt(9.0 * d)) ** 3
            with np.errstate(invalid="ignore", divide="ignore"):  # where v <= 0, nothing is taken
                taken = (v > 0.0) & (np.log(u) < 0.5 * x * x + d * (1.0 - v + np.log(v)))
            logarithms[open_places[taken]] = np.log(d * v[taken])
            open_places = open_places[~taken]
        if shape < 1.0:
            logarithms += np.log(1.0 - self.uniforms(count)) / shape
        return logarithms
