"""The benchmark of why SCAFFOLD swings: its gradient by hand, and what it counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.swings import CLASSES, INPUTS, SHAPES, falls, gradient, scores


def test_the_gradient_is_that_of_the_mean_cross_entropy() -> None:
    draw = np.random.default_rng(0)
    model: Any = draw.normal(0, 0.1, sum(int(np.prod(shape)) for shape in SHAPES))
    x: Any = draw.random((9, INPUTS))
    y = draw.integers(0, CLASSES, 9)
    along: Any = draw.normal(size=model.size)
    along /= np.linalg.norm(along)

    def loss(at: float) -> float:
        logits = scores(model + at * along, x)[1]
        return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(9), y]).mean())

    step = 1e-5
    slope = (loss(step) - loss(-step)) / (2 * step)
    assert float(gradient(model, x, y) @ along) == pytest.approx(slope, rel=1e-4)


def test_falls_are_added_up_and_rises_are_not() -> None:
    assert falls([0.5, 0.7, 0.6, 0.9, 0.4]) == pytest.approx(0.6)
    assert falls([0.1, 0.2]) == 0
