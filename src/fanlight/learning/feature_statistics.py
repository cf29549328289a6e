"""Mean and deviation of a network's features, worked out from its batch normalisation instead of from pictures."""

from __future__ import annotations

from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_CEILING = 6.0
_TINY = 1e-6


def relu6_moments(mean: Doubles, deviation: Doubles) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation of min(max(X, 0), 6) for X normal, each (d,).

    Args:
        mean: (d,) means of X.
        deviation: (d,) standard deviations of X, >= 0; tiny ones are raised to 1e-6 to keep the integrals defined.
    """
    moments = np.array([_moments(m, max(s, _TINY)) for m, s in zip(mean.tolist(), deviation.tolist(), strict=True)])
    first, second = moments[:, 0], moments[:, 1]
    return first, np.sqrt(np.maximum(second - first**2, 0))


def _moments(mean: float, deviation: float) -> tuple[float, float]:
    """First and second moment: the integrals over 0..6 of x and x**2, and the mass above 6 put at 6."""
    low, high = -mean / deviation, (_CEILING - mean) / deviation
    inside = _mass_below(high) - _mass_below(low)
    above = 1 - _mass_below(high)
    first = mean * inside + deviation * (_density(low) - _density(high)) + _CEILING * above
    tails = mean * _density(low) - (mean + _CEILING) * _density(high)
    second = (mean**2 + deviation**2) * inside + deviation * tails + _CEILING**2 * above
    return first, second


def _density(x: float) -> float:
    return exp(-x * x / 2) / sqrt(2 * pi)


def _mass_below(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
