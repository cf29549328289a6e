"""Two algorithms whose state or scale is easily wrong, against loops from the papers: a softmax head on pictures.

Batches are of 4, so that the last one is short; devices have different numbers of pictures; of five, two take part in a
round, and who is away keeps what it knew. The loops know nothing of the package but the order of the batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, State
from fanlight.learning.algorithms.fednova import fednova
from fanlight.learning.algorithms.local import Outcome, Received
from fanlight.learning.algorithms.scaffold import scaffold
from fanlight.learning.heads import head_layout
from fanlight.learning.local_training import SoftmaxDescent
from fanlight.learning.training_settings import TrainingSettings

Vector = NDArray[np.float64]
F, K, BATCH, EPOCHS, RATE = 4, 3, 4, 2, 0.1
LAYOUT = head_layout(F, K)
COHORTS = ((0, 1), (2, 4), (0, 3), (1, 4), (2, 3), (0, 4), (1, 2))
UNLIKE, ALIKE = (3, 6, 9, 13, 17), (9, 9, 9, 9, 9)


@dataclass(frozen=True)
class Device:
    x: NDArray[np.float32]
    y: NDArray[np.int64]


def devices(counts: tuple[int, ...]) -> list[Device]:
    """Each sees its first class more often than others, and from a side of its own."""
    found = []
    for number, count in enumerate(counts):
        draw = np.random.default_rng(number)
        y = np.where(draw.random(count) < 0.6, number % K, draw.integers(0, K, count))
        x = np.eye(K, F)[y] + 0.5 * draw.normal(size=(count, F)) + 0.3 * number
        found.append(Device(x.astype(np.float32), y))
    return found


def order(number: int, who: int) -> Keystream:
    return Keystream(bytes([number, who]) * 16)


def by_the_package(algorithm: Algorithm, among: list[Device], momentum: float) -> list[State]:
    """Validation pictures are wrongly labelled: by them every step makes a model worse, and none must be taken back."""
    settings = TrainingSettings(EPOCHS, BATCH, RATE, momentum, l2=0.0, patience=1000, class_weights=False)
    memories: list[Any] = [{} for _ in among]
    states = [algorithm.init(np.zeros(LAYOUT.size))]
    for number, cohort in enumerate(COHORTS):
        state, outcomes = states[-1], list[Outcome]()
        received = Received(state.parameters, LAYOUT, {name: state.memory[name] for name in algorithm.publishes})
        for k in cohort:
            x, y = among[k].x, among[k].y
            descend = SoftmaxDescent(LAYOUT, x, y, x, (y + 1) % K, settings, order(number, k))
            outcomes.append(algorithm.local(received, memories[k], descend))
        for k, outcome in zip(cohort, outcomes, strict=True):
            memories[k] = outcome.memory
        controls = [outcome.control for outcome in outcomes if outcome.control is not None]
        steps = [outcome.steps for outcome in outcomes if outcome.steps is not None]
        pictures = np.array([among[k].y.size for k in cohort], np.float64)
        gathered = Gathered(
            np.average([outcome.update for outcome in outcomes], axis=0, weights=pictures),
            count=len(cohort),
            members=len(among),
            weight=float(pictures.sum()),
            control=np.mean(controls, axis=0) if controls else None,
            steps=float(np.average(steps, weights=pictures)) if steps else None,
        )
        states.append(algorithm.apply(state, gathered))
    return states


def gradient(device: Device, some: NDArray[Any], w: Vector) -> Vector:
    """Of the mean cross-entropy of some pictures, (f, K) and then (K,) in one vector, as ``LAYOUT`` has it."""
    x = np.hstack([device.x[some], np.ones((some.size, 1))])
    scores = np.exp(x @ w.reshape(F + 1, K))
    slope: Vector = x.T @ (scores / scores.sum(axis=1, keepdims=True) - np.eye(K)[device.y[some]]) / some.size
    return slope.ravel()


def walk(device: Device, w: Vector, stream: Keystream, momentum: float, shift: Vector) -> tuple[Vector, int, float]:
    """Where it ends, its steps, and how far they would carry a constant gradient of 1, in learning rates."""
    velocity, speed, way, steps = 0 * w, 0.0, 0.0, 0
    for _ in range(EPOCHS):
        shuffled = stream.permutation(device.y.size)
        for first in range(0, device.y.size, BATCH):
            velocity = momentum * velocity - RATE * (gradient(device, shuffled[first : first + BATCH], w) + shift)
            speed, steps = momentum * speed + 1, steps + 1
            w, way = w + velocity, way + speed
    return w, steps, way


@pytest.mark.parametrize("counts", [ALIKE, UNLIKE], ids=["alike", "unlike"])
def test_scaffold_by_hand(counts: tuple[int, ...]) -> None:
    """Karimireddy et al. 1910.06378, algorithm 1, option II; models weigh by pictures, which there are as many of."""
    among, x, c = devices(counts), np.zeros(LAYOUT.size), np.zeros(LAYOUT.size)
    own = [np.zeros(LAYOUT.size) for _ in among]
    states = by_the_package(scaffold(learning_rate=0.8, control_clip=1e6), among, momentum=0.0)
    for number, cohort in enumerate(COHORTS):
        moved, changed, total = 0 * x, 0 * x, sum(counts[k] for k in cohort)
        for k in cohort:
            y, steps, _ = walk(among[k], x, order(number, k), 0.0, c - own[k])
            after = own[k] - c + (x - y) / (steps * RATE)
            moved, changed = moved + counts[k] / total * (y - x), changed + (after - own[k]) / len(cohort)
            own[k] = after
        x, c = x + 0.8 * moved, c + len(cohort) / len(among) * changed
        np.testing.assert_allclose(states[number + 1].parameters, x, atol=2e-5)
        np.testing.assert_allclose(states[number + 1].memory["control"], c, atol=2e-5)
    assert np.abs(c).max() > 0.05


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_fednova_by_hand(momentum: float) -> None:
    """Wang et al. 2007.07481, equation 6, with a_k added up step by step instead of by the formula."""
    among, w = devices(UNLIKE), np.zeros(LAYOUT.size)
    states = by_the_package(fednova(typical_steps=7), among, momentum)
    for number, cohort in enumerate(COHORTS):
        p = {k: UNLIKE[k] / sum(UNLIKE[each] for each in cohort) for k in cohort}
        walked = {k: walk(among[k], w, order(number, k), momentum, 0 * w) for k in cohort}
        for k in cohort:
            assert walked[k][1] == EPOCHS * -(-UNLIKE[k] // BATCH)
        effective = sum(p[k] * walked[k][2] for k in cohort)
        w = w + effective * np.sum([p[k] * (walked[k][0] - w) / walked[k][2] for k in cohort], axis=0)
        np.testing.assert_allclose(states[number + 1].parameters, w, atol=5e-5)
    assert np.abs(w).max() > 0.1
