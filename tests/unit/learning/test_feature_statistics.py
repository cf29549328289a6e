from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.learning import efficientnet_lite0
from fanlight.learning.feature_statistics import relu6_moments
from scripts.derive_feature_statistics import SIZES, derive


def by_quadrature(mean: float, deviation: float) -> tuple[float, float]:
    """Mean and deviation of ReLU6 of a normal variable, by the trapezoidal rule over 12 deviations to either side."""
    x = np.linspace(mean - 12 * deviation, mean + 12 * deviation, 400_001)
    density = np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
    y = np.clip(x, 0, 6)
    first = float(np.trapezoid(y * density, x))
    return first, float(np.sqrt(max(np.trapezoid(y**2 * density, x) - first**2, 0)))


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (-4, 3), (3, 0.5), (3, 10), (7, 2), (-1, 0.8), (5.9, 0.01)])
def test_moments_are_the_integrals(mean: float, deviation: float) -> None:
    first, spread = relu6_moments(np.array([mean], np.float64), np.array([deviation], np.float64))
    expected = by_quadrature(mean, deviation)
    np.testing.assert_allclose((first[0], spread[0]), expected, atol=1e-5)


def test_constants_have_no_spread() -> None:
    first, spread = relu6_moments(np.array([-2.0, 3.0, 9.0]), np.zeros(3))
    np.testing.assert_allclose(first, [0, 3, 6], atol=1e-5)
    np.testing.assert_allclose(spread, 0, atol=1e-3)


def test_shipped_statistics_are_those_that_the_script_derives() -> None:
    shipped: NDArray[np.float64] = efficientnet_lite0._drawn_statistics()
    again = derive(pictures=30, seed=11)  # other and fewer pictures than the shipped ones
    assert SIZES == (64, 96, 128)
    assert shipped.shape == again.shape == (2, 1280)
    assert np.corrcoef(shipped[0], again[0])[0, 1] > 0.9
    assert np.corrcoef(shipped[1], again[1])[0, 1] > 0.8
    assert abs(shipped - again).mean() < 0.1
