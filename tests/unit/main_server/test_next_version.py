"""The next version's parameters, in the place of the sum, bit for bit what one formula over whole arrays gives."""

from __future__ import annotations

import numpy as np
import pytest

from fanlight.errors import ModelError
from fanlight.learning.heads import SoftmaxHead
from fanlight.services.main_server.next_version import move

FEATURES, CLASSES = 2_500, 3
UNIT = 1.7e-7
HELD_BACK = np.array([False, True, False])


def before_and_steps() -> tuple[SoftmaxHead, np.ndarray]:
    chance = np.random.default_rng(7)
    weight = chance.normal(size=(FEATURES, CLASSES)).astype(np.float32)
    weight[:, 1][::2] = -0.0
    steps = chance.integers(-(2**31), 2**31, (FEATURES + 1) * CLASSES).astype(np.int32)
    return SoftmaxHead(weight, chance.normal(size=CLASSES).astype(np.float32)), steps


def test_it_is_the_start_and_the_mean_but_for_classes_held_back() -> None:
    before, steps = before_and_steps()
    rows = np.vstack([before.weight, before.bias]).astype(np.float64)
    expected = (rows + np.where(HELD_BACK, 0.0, steps.reshape(-1, CLASSES) * UNIT)).astype(np.float32)
    after = move(before, steps, UNIT, HELD_BACK)
    assert np.vstack([after.weight, after.bias]).tobytes() == expected.tobytes()
    assert np.shares_memory(after.weight, steps)
    assert np.shares_memory(after.bias, steps)


def test_a_parameter_beyond_float32_is_refused() -> None:
    before, steps = before_and_steps()
    with pytest.raises(ModelError):
        move(before, steps, 1e200, HELD_BACK)
