from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fanlight.core.adaptive_clip import LARGEST_CLIP, SMALLEST_CLIP, next_clip
from fanlight.errors import SettingsError


def test_the_bound_stays_at_the_quantile_and_moves_towards_it() -> None:
    assert next_clip(10.0, 0.9) == pytest.approx(10.0)
    assert next_clip(10.0, 1.0) == pytest.approx(10.0 * math.exp(-0.02))
    assert next_clip(10.0, 0.0) == pytest.approx(10.0 * math.exp(0.18))
    assert next_clip(10.0, 0.5, learning_rate=1.0, quantile=0.25) == pytest.approx(10.0 * math.exp(-0.25))


@pytest.mark.parametrize("first", [0.1, 100.0])
def test_it_finds_the_quantile_of_a_population(first: float) -> None:
    norms = np.linspace(0.0, 2.0, 1001)
    clip = first
    for _ in range(400):
        clip = next_clip(clip, float(np.mean(norms <= clip)))
    assert clip == pytest.approx(1.8, abs=0.02)


def test_it_never_leaves_its_range() -> None:
    assert next_clip(SMALLEST_CLIP, 1.0) == pytest.approx(SMALLEST_CLIP)
    assert next_clip(LARGEST_CLIP, 0.0) == pytest.approx(LARGEST_CLIP)
    assert next_clip(1.0, 1.0, learning_rate=1e9) == pytest.approx(SMALLEST_CLIP)
    assert next_clip(1.0, 0.0, learning_rate=1e9) == pytest.approx(LARGEST_CLIP)


@pytest.mark.parametrize(
    ("clip", "fraction", "options"),
    [
        (0.0, 0.5, {}),
        (-1.0, 0.5, {}),
        (math.nan, 0.5, {}),
        (math.inf, 0.5, {}),
        (1.0, -0.1, {}),
        (1.0, 1.1, {}),
        (1.0, math.nan, {}),
        (1.0, 0.5, {"quantile": 1.5}),
        (1.0, 0.5, {"learning_rate": -1.0}),
        (1.0, 0.5, {"learning_rate": math.inf}),
    ],
)
def test_arguments_out_of_range_are_refused(clip: float, fraction: float, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        next_clip(clip, fraction, **options)
