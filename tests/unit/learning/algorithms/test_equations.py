"""Server rules against references of a few lines, written from the papers, over several rounds of random updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.algorithms.algorithm import Algorithm, Gathered
from fanlight.learning.algorithms.fedadagrad import fedadagrad
from fanlight.learning.algorithms.fedadam import fedadam
from fanlight.learning.algorithms.fedavgm import fedavgm
from fanlight.learning.algorithms.feddyn import feddyn
from fanlight.learning.algorithms.fednova import fednova, reach
from fanlight.learning.algorithms.fedyogi import fedyogi
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.algorithms.scaffold import scaffold

Vector = NDArray[np.float64]
Reference = Callable[[Vector, list[Vector]], Iterator[Vector]]


def adam(w: Vector, updates: list[Vector]) -> Iterator[Vector]:
    m, v = 0 * w, 0 * w + 0.01**2
    for delta in updates:
        m = 0.9 * m + 0.1 * delta
        v = 0.99 * v + 0.01 * delta * delta
        w = w + 0.1 * m / (v**0.5 + 0.01)
        yield w


def yogi(w: Vector, updates: list[Vector]) -> Iterator[Vector]:
    m, v = 0 * w, 0 * w + 0.01**2
    for delta in updates:
        m = 0.9 * m + 0.1 * delta
        v = v - 0.01 * delta**2 * np.where(v > delta**2, 1, -1)
        w = w + 0.1 * m / (v**0.5 + 0.01)
        yield w


def adagrad(w: Vector, updates: list[Vector]) -> Iterator[Vector]:
    total = 0 * w + 0.01**2
    for delta in updates:
        total = total + delta**2
        w = w + 0.1 * delta / (total**0.5 + 0.01)
        yield w


def momentum(w: Vector, updates: list[Vector]) -> Iterator[Vector]:
    for last in range(len(updates)):
        w = w + 0.2 * sum((0.7 ** (last - i) * updates[i] for i in range(last + 1)), 0 * w)
        yield w


def dyn(w: Vector, updates: list[Vector]) -> Iterator[Vector]:
    """With half of the federation in each round; h as in the paper."""
    h = 0 * w
    for delta in updates:
        h = h - 2.0 * 0.5 * delta
        w = (w + delta) - h / 2.0
        yield w


CASES: dict[str, tuple[Algorithm, Reference]] = {
    "fedadam": (fedadam(learning_rate=0.1, beta1=0.9, beta2=0.99, tau=0.01), adam),
    "fedyogi": (fedyogi(learning_rate=0.1, beta1=0.9, beta2=0.99, tau=0.01), yogi),
    "fedadagrad": (fedadagrad(learning_rate=0.1, beta1=0.0, tau=0.01), adagrad),
    "fedavgm": (fedavgm(beta=0.7, learning_rate=0.2), momentum),
    "feddyn": (feddyn(alpha=2.0), dyn),
}


@pytest.mark.parametrize(("algorithm", "reference"), CASES.values(), ids=CASES)
def test_it_follows_the_paper(algorithm: Algorithm, reference: Reference) -> None:
    draw = np.random.default_rng(3)
    start, updates = draw.normal(size=6), [0.05 * draw.normal(size=6) for _ in range(8)]
    state = algorithm.init(start)
    for expected, update in zip(reference(start, updates), updates, strict=True):
        state = algorithm.apply(state, Gathered(update, count=4, members=8))
        np.testing.assert_allclose(state.parameters, expected, rtol=1e-10)
    assert state.rounds == len(updates)


def test_two_rounds_of_fedadam_in_numbers() -> None:
    """By hand: tau = 1, so v starts at 1; updates of 1 and 0."""
    algorithm = fedadam(learning_rate=1.0, beta1=0.5, beta2=0.5, tau=1.0)
    state = algorithm.apply(algorithm.init([0.0]), Gathered([1.0]))
    assert state.parameters[0] == pytest.approx(0.5 / (1.0 + 1.0))
    state = algorithm.apply(state, Gathered([0.0]))
    assert state.parameters[0] == pytest.approx(0.25 + 0.25 / (0.5**0.5 + 1.0))


@pytest.mark.parametrize(("steps", "rho"), [(1, 0.0), (1, 0.9), (5, 0.0), (5, 0.9), (200, 0.5)])
def test_reach_is_how_far_a_constant_gradient_carries(steps: int, rho: float) -> None:
    velocity = way = 0.0
    for _ in range(steps):
        velocity = rho * velocity + 1.0
        way += velocity
    assert reach(steps, rho) == pytest.approx(way)


def test_what_a_round_lacks_is_said() -> None:
    with pytest.raises(ModelError, match="control"):
        scaffold(1.0, 1.0).apply(scaffold(1.0, 1.0).init(np.zeros(2)), Gathered(np.zeros(2)))
    for steps in (None, 0.0, float("nan")):
        with pytest.raises(ModelError, match="steps"):
            fednova(1).apply(fednova(1).init(np.zeros(2)), Gathered(np.zeros(2), steps=steps))


@pytest.mark.parametrize("name", RECIPES)
def test_states_are_frozen_and_fit(name: str) -> None:
    recipe = RECIPES[name]
    algorithm = recipe.of({})
    before = algorithm.init(np.ones(3))
    after = algorithm.apply(before, Gathered(np.ones(3), control=np.ones(3), steps=1.0))
    for state in (before, after):
        assert state.memory.keys() == before.memory.keys()
        for vector in (state.parameters, *state.memory.values()):
            assert vector.shape == (3,)
            with pytest.raises(ValueError, match="read-only"):
                vector[0] = 7.0
    assert np.array_equal(before.parameters, np.ones(3))
    with pytest.raises(ModelError, match="does not fit"):
        algorithm.apply(before, Gathered(np.ones(4), control=np.ones(4), steps=1.0))
