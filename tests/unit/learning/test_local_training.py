"""Softmax training as algorithms see it: corrections, tensors that stand still, what is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.learning.algorithms.algorithm import Gathered
from fanlight.learning.algorithms.fedavg import FEDAVG
from fanlight.learning.algorithms.fednova import fednova, reach
from fanlight.learning.algorithms.local import Descent, Received
from fanlight.learning.heads import head_layout, log_softmax
from fanlight.learning.local_training import SoftmaxDescent, head_of
from fanlight.learning.training import EpochProgress
from fanlight.learning.training_settings import TrainingSettings

F, K = 5, 3
LAYOUT = head_layout(F, K)
D = LAYOUT.size
ONE_STEP = TrainingSettings(
    epochs=1, batch_size=4096, learning_rate=0.1, momentum=0.0, l2=0.0, patience=1000, class_weights=False
)
NONE: tuple[NDArray[Any], NDArray[Any]] = (np.empty((0, F), np.float32), np.empty(0, np.int64))


def pictures(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, K, count)
    return (np.eye(K, F)[y] * 2 + draw.normal(size=(count, F))).astype(np.float32), y


def trainer(count: int = 40, seed: int = 1, settings: TrainingSettings = ONE_STEP) -> SoftmaxDescent:
    x, y = pictures(count, seed)
    return SoftmaxDescent(LAYOUT, x, y, *NONE, settings, Keystream(bytes([seed]) * 32))


def start(seed: int = 9) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = np.random.default_rng(seed).normal(size=D).astype(np.float32).astype(np.float64)
    return drawn


def gradient(x: NDArray[np.float32], y: NDArray[np.int64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    slope = np.exp(log_softmax(head_of(LAYOUT, at).logits(x)))
    slope[np.arange(y.size), y] -= 1
    return LAYOUT.flatten({"head.weight": x.T @ slope / y.size, "head.bias": slope.mean(axis=0)})


def test_one_full_batch_step_of_fedavg_is_the_gradient_of_all_pictures_together() -> None:
    w, counts = start(), (10, 30, 60)
    each = [pictures(count, seed) for seed, count in enumerate(counts)]
    received = Received(w, LAYOUT)
    updates = [FEDAVG.local(received, {}, trainer(count, seed)).update for seed, count in enumerate(counts)]
    mean = np.average(updates, axis=0, weights=counts)
    after = FEDAVG.apply(FEDAVG.init(w), Gathered(mean)).parameters
    x, y = np.concatenate([x for x, _ in each]), np.concatenate([y for _, y in each])
    np.testing.assert_allclose(after, w - 0.1 * gradient(x, y, w), atol=1e-6)


def test_shift_and_pull_are_added_to_the_gradient() -> None:
    w, anchor, shift = start(), start(10), start(11)
    done = trainer()(Descent(w, shift=shift, pull=2.0, anchor=anchor, watch=True))
    slope = gradient(*pictures(40, 1), w)
    np.testing.assert_allclose(done.parameters, w - 0.1 * (slope + shift + 2.0 * (w - anchor)), atol=1e-5)
    assert done.mean_gradient is not None
    np.testing.assert_allclose(done.mean_gradient, slope, atol=1e-6)


def test_nobody_pays_for_gradients_that_are_not_watched() -> None:
    assert trainer()(Descent(start())).mean_gradient is None


@pytest.mark.parametrize("name", LAYOUT.names)
def test_frozen_tensors_stand_still(name: str) -> None:
    w = start()
    done = trainer(settings=replace(ONE_STEP, epochs=3, momentum=0.9, l2=0.1))(Descent(w, frozen=frozenset({name})))
    before, after = LAYOUT.views(w), LAYOUT.views(done.parameters)
    for tensor in LAYOUT.names:
        assert np.array_equal(before[tensor], after[tensor]) == (tensor == name)


def test_steps_are_those_that_led_to_the_result() -> None:
    settings = replace(ONE_STEP, epochs=3, batch_size=16, momentum=0.5)
    done = trainer(settings=settings)(Descent(start(), watch=True))
    assert (done.steps, done.momentum) == (9, 0.5)


def test_steps_and_gradients_of_the_best_epoch_count() -> None:
    """Validation labels that contradict training: the first epoch is the best."""
    x, y = pictures(30, 1)
    settings = replace(ONE_STEP, epochs=6, batch_size=10, learning_rate=0.5, patience=2)
    contrary = SoftmaxDescent(LAYOUT, x, y, x, (y + 1) % K, settings, Keystream(bytes(32)))
    once = SoftmaxDescent(LAYOUT, x, y, *NONE, replace(settings, epochs=1), Keystream(bytes(32)))
    found, expected = contrary(Descent(start(), watch=True)), once(Descent(start(), watch=True))
    assert found.steps == expected.steps == 3
    assert np.array_equal(found.parameters, expected.parameters)
    assert found.mean_gradient is not None
    assert expected.mean_gradient is not None
    assert np.array_equal(found.mean_gradient, expected.mean_gradient)


def test_to_the_end_means_the_last_epoch_whatever_validation_says() -> None:
    """FedNova asks for it: a short stop would be stretched again."""
    x, y = pictures(30, 1)
    settings = replace(ONE_STEP, epochs=6, batch_size=10, learning_rate=0.5, patience=2)
    told: list[EpochProgress] = []
    contrary = SoftmaxDescent(LAYOUT, x, y, x, (y + 1) % K, settings, Keystream(bytes(32)), told.append)
    unasked = SoftmaxDescent(LAYOUT, x, y, *NONE, settings, Keystream(bytes(32)))
    found, expected = contrary(Descent(start(), to_the_end=True)), unasked(Descent(start()))
    assert found.steps == expected.steps == 18
    assert np.array_equal(found.parameters, expected.parameters)
    assert told[-1].epoch == 6
    assert told[-1].valid_loss is not None

    again = SoftmaxDescent(LAYOUT, x, y, x, (y + 1) % K, settings, Keystream(bytes(32)))
    outcome = fednova(typical_steps=18).local(Received(start(), LAYOUT), {}, again)
    assert outcome.steps == 1.0
    assert np.array_equal(outcome.own, expected.parameters)


def test_steps_reach_as_far_as_a_constant_gradient_carries() -> None:
    """What FedNova divides by: with a huge shift, nothing but the shift matters."""
    shift, settings = np.full(D, 1e4), replace(ONE_STEP, epochs=7, momentum=0.8, learning_rate=1e-3)
    done = trainer(settings=settings)(Descent(np.zeros(D), shift=shift))
    np.testing.assert_allclose(done.parameters, -1e-3 * 1e4 * reach(7, 0.8), rtol=1e-3)
