from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fanlight.errors import ModelError
from fanlight.learning.algorithms.algorithm import Gathered
from fanlight.learning.algorithms.fedavg import FEDAVG


def test_it_averages_the_devices_models() -> None:
    """Global plus the weighted mean of (local - global) is the weighted mean of the local models."""
    draw = np.random.default_rng(1)
    start, local, pictures = draw.normal(size=5), draw.normal(size=(3, 5)), np.array([10.0, 1.0, 4.0])
    update = (pictures[:, None] * (local - start)).sum(axis=0) / pictures.sum()
    state = FEDAVG.apply(FEDAVG.init(start), Gathered(update))
    np.testing.assert_allclose(state.parameters, np.average(local, axis=0, weights=pictures))
    assert state.rounds == 1


def test_state_is_frozen_and_its_own() -> None:
    parameters = np.zeros(3)
    state = FEDAVG.init(parameters)
    parameters[0] = 7.0
    assert not state.parameters.any()
    with pytest.raises(ValueError, match="read-only"):
        state.parameters[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.rounds = 5  # type: ignore[misc]
    after = FEDAVG.apply(state, Gathered(np.ones(3)))
    assert not state.parameters.any()
    assert after.parameters.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((3, 1)), np.array([0, np.nan, 0]), np.array([np.inf, 0, 0])])
def test_updates_that_do_not_fit(bad: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    with pytest.raises(ModelError):
        FEDAVG.apply(FEDAVG.init(np.zeros(3)), Gathered(bad))


def test_overflow_is_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        FEDAVG.apply(FEDAVG.init(np.full(3, 1.7e308)), Gathered(np.full(3, 1.7e308)))


def test_empty_model() -> None:
    with pytest.raises(ModelError):
        FEDAVG.init(np.empty(0))
