"""The geometric median, by what makes it one: f(z) = Σ ‖z - z_i‖ is convex, so slopes bound how much less it gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fanlight.learning.algorithms.geometric_median import weights_of_median

Floats = NDArray[np.float64]


def median(points: Floats) -> Floats:
    found: Floats = weights_of_median(points) @ points
    return found


def distances(points: Floats, z: Floats) -> Floats:
    found: Floats = np.linalg.norm(points - z, axis=1)
    return found


def excess(points: Floats, z: Floats) -> float:
    """By what share the sum of distances to ``z`` can at most be above the least one.

    f(y) ≥ f(z) - (length of the least subgradient at z) · ‖y - z‖, and no minimum is farther off than the points are.
    """
    apart = distances(points, z)
    here = apart <= 1e-12 * apart.max(initial=0.0)
    slope = ((z - points[~here]) / apart[~here, None]).sum(axis=0)
    least = max(0.0, float(np.linalg.norm(slope)) - int(here.sum()))
    return least * float(apart.max()) / float(apart.sum()) if apart.any() else 0.0


def drawn(kind: str, seed: int) -> Floats:
    draw = np.random.default_rng(seed)
    count, size = int(draw.integers(3, 17)), int(draw.integers(2, 60))
    points: Floats = draw.normal(size=(count, size)) * 10.0 ** draw.uniform(-6, 6)
    if kind == "bad minority":
        points[: (count - 1) // 2] *= 1e3
    elif kind == "twins":
        points[1] = points[0]
    elif kind == "grid":
        points[:] = np.round(draw.uniform(0, 2, size=points.shape))
    return points


@pytest.mark.parametrize("kind", ["alike", "bad minority", "twins", "grid"])
@pytest.mark.parametrize("seed", range(60))
def test_no_point_has_a_sum_of_distances_that_is_a_billionth_less(kind: str, seed: int) -> None:
    points = drawn(kind, seed)
    assert excess(points, median(points)) < 1e-9


@pytest.mark.parametrize("beyond", [-1e-3, -1e-6, 0.0, 1e-6, 1e-4, 1e-2])
def test_where_one_of_them_is_or_hardly_is_the_median(beyond: float) -> None:
    """Weiszfeld's steps take for ever there: a corner of 120° is the median, one of a little less is just not."""
    angle = np.radians(120.0) - beyond
    points = np.array([[0.0, 0.0], [1.0, 0.0], [2 * np.cos(angle), 2 * np.sin(angle)]])
    z = median(points)
    assert excess(points, z) < 1e-9
    assert (np.abs(z).max() == 0.0) == (beyond <= 0.0)


@given(
    points=arrays(np.float64, (4, 3), elements=st.floats(-1e3, 1e3)),
    away=arrays(np.float64, 3, elements=st.floats(-1, 1)),
)
def test_no_step_away_makes_the_sum_less(points: Floats, away: Floats) -> None:
    z = median(points)
    here = distances(points, z).sum()
    for length in (1e-6, 1e-3, 1.0, 100.0):
        assert distances(points, z + length * away).sum() >= here * (1 - 1e-9)


def test_on_a_line_it_is_the_ordinary_median() -> None:
    line = np.array([3.0, -1.0, 10.0, 4.0, 0.0])
    for at in (line, line[:4]):
        points = np.outer(at, [1.0, -2.0, 0.5]) + 7.0
        np.testing.assert_allclose(median(points), np.median(at) * np.array([1.0, -2.0, 0.5]) + 7.0, rtol=1e-12)


def test_it_is_their_mean_by_weights_that_are_none_below_zero() -> None:
    for kind in ("alike", "grid"):
        weights = weights_of_median(drawn(kind, 7))
        assert weights.min() >= 0.0
        assert weights.sum() == pytest.approx(1.0)
    assert weights_of_median(np.ones((3, 2))).sum() == 1.0
