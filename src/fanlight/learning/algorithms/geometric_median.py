"""The point whose distances to s given ones have the least sum: argmin f(z) = Σ ‖z - z_i‖.

A given point is that minimum if the pull of all others on it, the length of the sum of unit vectors towards them, is at
most how often it is given (Vardi and Zhang 2000, PNAS 97, equation 3.4). There f has a kink, and steps that only come
near it, such as Weiszfeld's, come ever more slowly; so each of them is tried first. If none is, the best of them is
left by Vardi's and Zhang's own step, which lowers f. From then on f is less than at any of them, so no step meets a
kink, and Newton's method with step halving takes over: f is convex, and strictly unless all points lie on a line,
where the minimum is the ordinary median.

All happens in coordinates of the s - 1 or fewer dimensions that the points span. In the end z = Σ w_i z_i / Σ w_i with
w_i = 1 / ‖z - z_i‖, which is the same as that the gradient is zero: so z lies among the points.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_TOLERANCE: Final = 1e-10
"""Length of the gradient, of s unit vectors' sum for each of them, that is taken for zero."""
_FLAT: Final = 1e-12
"""Of the points' spread; what is less is rounding."""
_MOST_STEPS: Final = 200
_ENOUGH_DESCENT: Final = 1e-4
_ROUNDING: Final = 1e-15
"""Of a sum of distances; steps of less than can be told from it are taken as they come."""


def weights_of_median(points: _Floats) -> _Floats:
    """What each of the points weighs in their geometric median; not negative, the sum is 1.

    The sum of distances to what comes of them is within a billionth of the least one.

    Args:
        points: (s, d), finite; s at least 1. Of more than one minimum, which only points on a line have, the middle.
    """
    centred = points - points.mean(axis=0)
    spread = float(np.abs(centred).max())
    if spread == 0.0:
        return _alone(0, len(points))
    triangle: Any = np.linalg.qr((centred / spread).T, mode="r")
    axes, lengths, _ = np.linalg.svd(triangle.T, full_matrices=False)
    kept = lengths > _FLAT * lengths[0]
    at: _Floats = axes[:, kept] * lengths[kept]
    if at.shape[1] == 1:
        return _middle_of_line(at[:, 0])
    apart = np.linalg.norm(at[:, None] - at[None], axis=2)
    pulls = np.array([np.linalg.norm(_pull(at, place, row)) for place, row in enumerate(apart)])
    often = (apart <= _FLAT).sum(axis=1)
    excess = pulls - often
    if excess.min() <= _TOLERANCE * len(at):
        return _alone(int(excess.argmin()), len(at))
    best = int(apart.sum(axis=1).argmin())
    z = _descend(at, _leave(at, best, apart[best], often[best] / pulls[best]))
    near = 1.0 / np.linalg.norm(at - z, axis=1)
    weights: _Floats = near / near.sum()
    return weights


def _alone(place: int, count: int) -> _Floats:
    weights = np.zeros(count)
    weights[place] = 1.0
    return weights


def _middle_of_line(at: _Floats) -> _Floats:
    order, weights = np.argsort(at, kind="stable"), np.zeros(len(at))
    for place in ((len(at) - 1) // 2, len(at) // 2):
        weights[order[place]] += 0.5
    return weights


def _pull(at: _Floats, place: int, distances: _Floats) -> _Floats:
    """The sum of unit vectors from one of the points to those that are elsewhere."""
    others = distances > _FLAT
    pull: _Floats = ((at[others] - at[place]) / distances[others, None]).sum(axis=0)
    return pull


def _leave(at: _Floats, place: int, distances: _Floats, stays: float) -> _Floats:
    """A step away from one of the points to where f is less (the same, equation 2.6)."""
    others = distances > _FLAT
    weights = 1.0 / distances[others]
    left: _Floats = (1.0 - stays) * (weights @ at[others] / weights.sum()) + stays * at[place]
    return left


def _descend(at: _Floats, z: _Floats) -> _Floats:
    """Newton's method from ``z``, where f is less than at any of the points."""
    for _ in range(_MOST_STEPS):
        units, distances = _units(at, z)
        gradient = units.sum(axis=0)
        if np.linalg.norm(gradient) <= _TOLERANCE * len(at):
            break
        curved = np.eye(len(z)) * (1.0 / distances).sum() - units.T @ (units / distances[:, None])
        step = np.linalg.lstsq(curved, -gradient)[0]
        slope, most, length = float(gradient @ step), float(distances.sum()) * (1 + _ROUNDING), 1.0
        while float(_units(at, z + length * step)[1].sum()) > most + _ENOUGH_DESCENT * length * slope:
            length /= 2
            if length < _FLAT:
                return z
        z = z + length * step
    return z


def _units(at: _Floats, z: _Floats) -> tuple[_Floats, _Floats]:
    """(s, r) from each of the points to ``z``, of length 1, and (s,) the distances."""
    away = z - at
    distances = np.maximum(np.linalg.norm(away, axis=1), _FLAT**2)
    return away / distances[:, None], distances
