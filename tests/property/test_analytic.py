"""What must hold for every split of the pictures: the head from summed statistics is that of all in one place."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fanlight.learning.analytic import CONSTANT, Statistics, collect, error_bound, fit, solve
from fanlight.learning.heads import unit
from fanlight.learning.prototypes import head_of
from fanlight.protocol.statistics import Sums, why_impossible

SEEDS = st.integers(0, 2**32 - 1)


def pictures(seed: int, count: int, features: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of any length, so that they have to be brought to length 1, and labels of which some may not occur."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, features)) * draw.uniform(0.01, 100, size=(count, 1))
    return x.astype(np.float32), draw.integers(0, classes, count)


def statistics_of(sums: Sums) -> Statistics:
    """What a single part of the sums says."""
    gram, class_sums, examples = sums.parts[0]
    return Statistics(gram, class_sums, examples)


def summed(x: NDArray[np.float32], y: NDArray[np.int64], owner: NDArray[np.int64], classes: int) -> tuple[Sums, int]:
    """The sum over devices of what each has rounded, and how many devices there are."""
    total = None
    for device in np.unique(owner):
        own = collect(x[owner == device], y[owner == device], classes)
        empty = collect(x[:0], y[:0], classes)
        sums = Sums.rounded(*((part.gram, part.sums, part.examples) for part in (own, empty)))
        total = sums if total is None else total + sums
    assert total is not None
    return total, np.unique(owner).size


def in_one_place(x: NDArray[np.float32], y: NDArray[np.int64], classes: int, strength: float) -> NDArray[np.float64]:
    """Ridge regression by its definition, in float64."""
    phi = np.hstack([unit(x).astype(np.float64), np.full((len(x), 1), CONSTANT)])
    gram = phi.T @ phi + strength * np.eye(phi.shape[1])
    found: NDArray[np.float64] = np.linalg.solve(gram, phi.T @ np.eye(classes)[y])
    return found


@given(
    seed=SEEDS,
    count=st.integers(1, 300),
    features=st.integers(1, 24),
    classes=st.integers(2, 6),
    devices=st.integers(1, 40),
    strength=st.sampled_from([0.03, 0.1, 1.0, 10.0]),
)
def test_any_split_gives_the_pooled_head_within_the_proved_bound(
    seed: int, count: int, features: int, classes: int, devices: int, strength: float
) -> None:
    x, y = pictures(seed, count, features, classes)
    owner = np.random.default_rng(seed + 1).integers(0, devices, count)
    total, n = summed(x, y, owner, classes)
    assert why_impossible(total, n) is None
    found, pooled = solve(statistics_of(total), strength), in_one_place(x, y, classes, strength)
    phi = unit(np.random.default_rng(seed + 2).normal(size=(20, features)).astype(np.float32)).astype(np.float64)
    scores = phi @ found.weight + found.bias
    expected = np.hstack([phi, np.full((20, 1), CONSTANT)]) @ pooled
    bound = error_bound(collect(x, y, classes), n, strength)
    assert bound < 1e-4, "it says something"
    assert np.linalg.norm(scores - expected, axis=1).max() <= bound * (1 + 1e-6) + 1e-12


ALIKE = [0.0, 1e-4, 0.1, 1.0, 100.0]
"""How far pictures of a class are spread: not at all is where all bounds of sums are tight."""


@given(
    seed=SEEDS,
    count=st.integers(1, 500),
    features=st.sampled_from([1, 2, 7, 64, 257, 640]),
    classes=st.integers(2, 9),
    devices=st.integers(1, 60),
    spread=st.sampled_from(ALIKE),
    head=st.sampled_from(["analytic", "prototypes"]),
)
def test_honest_sums_are_never_refused(
    seed: int, count: int, features: int, classes: int, devices: int, spread: float, head: str
) -> None:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, classes, count)
    x = np.abs(draw.normal(size=(classes, features)))[y] + spread * draw.normal(size=(count, features))
    total, n = summed(x.astype(np.float32), y, draw.integers(0, devices, count), classes)
    if head == "prototypes":
        total = Sums(total.gram[:0], total.class_sums[: features * classes], total.examples[:classes])
    assert why_impossible(total, n) is None


@given(
    seed=SEEDS,
    features=st.sampled_from([1, 5, 64, 200]),
    classes=st.integers(2, 9),
    roundings=st.sampled_from([1, 10, 1 << 14, 1 << 20]),
    spread=st.sampled_from(ALIKE[:3]),
)
def test_not_even_if_every_rounding_goes_the_same_and_the_worst_way(
    seed: int, features: int, classes: int, roundings: int, spread: float
) -> None:
    """Each class's sum longer, and the squares smaller, by half a step for each device and number."""
    draw = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), 3)
    x = np.abs(draw.normal(size=(classes, features)))[y] + spread * draw.normal(size=(y.size, features))
    own = collect(x.astype(np.float32), y, classes)
    exact = Sums.rounded(*((part.gram, part.sums, part.examples) for part in (own, collect(x[:0], y[:0], classes))))
    worst = (roundings - 1) // 2  # one was made already
    signs = np.sign(own.sums[:, 0])
    gram, class_sums = exact.gram.copy(), exact.class_sums.copy()
    gram[: own.gram.size] -= worst * np.outer(signs, signs)[np.triu_indices(features)].astype(np.int64)
    class_sums[: own.sums.size] += worst * np.sign(own.sums.ravel()).astype(np.int64)
    assert why_impossible(Sums(gram, class_sums, exact.examples), roundings) is None


@given(seed=SEEDS, count=st.integers(1, 60), devices=st.integers(1, 60))
def test_one_class_a_device_gives_the_same_sums_as_one_device(seed: int, count: int, devices: int) -> None:
    """However skewed the split is, sums differ by the roundings alone: at most half a step for each device."""
    x, y = pictures(seed, count, 7, 4)
    pooled, _ = summed(x, y, np.zeros(count, np.int64), 4)
    for owner in (y, np.arange(count) % devices):
        total, n = summed(x, y, owner, 4)
        assert total.examples.tolist() == pooled.examples.tolist()
        assert np.abs(total.gram - pooled.gram).max() <= n / 2 + 0.5 + 1e-3
        assert np.abs(total.class_sums - pooled.class_sums).max() <= n / 2 + 0.5 + 1e-3


@given(seed=SEEDS, count=st.integers(2, 60), devices=st.integers(1, 10))
def test_who_leaves_is_forgotten_to_the_last_bit(seed: int, count: int, devices: int) -> None:
    """Leaving subtracts the very integers that were sent, so what is left is as if they had never come."""
    x, y = pictures(seed, count, 5, 3)
    owner = np.arange(count) % (devices + 1)
    total, _ = summed(x, y, owner, 3)
    leaver, _ = summed(x[owner == 0], y[owner == 0], owner[owner == 0], 3)
    if not (owner > 0).any():
        assert (total - leaver).is_empty
        return
    others, _ = summed(x[owner > 0], y[owner > 0], owner[owner > 0], 3)
    assert ((total - leaver) - others).is_empty
    assert ((others + leaver) - total).is_empty


@given(seed=SEEDS, count=st.integers(1, 60), devices=st.integers(1, 10))
def test_prototypes_of_any_split_are_those_of_all(seed: int, count: int, devices: int) -> None:
    x, y = pictures(seed, count, 6, 3)
    owner = np.random.default_rng(seed + 1).integers(0, devices, count)
    total, n = summed(x, y, owner, 3)
    _, sums, examples = total.parts[0]
    head, phi = head_of(sums, examples), unit(x)
    means = np.array([phi[y == k].mean(axis=0) if (y == k).any() else np.full(6, 9.0) for k in range(3)])
    distances = ((phi[:, None] - means[None]) ** 2).sum(axis=2)
    near = np.sort(distances, axis=1)
    clear = near[:, 1] - near[:, 0] > 1e-3 + n * 1e-9
    logits = head.logits(phi * np.float32(np.sqrt(6)))
    assert logits.argmax(axis=1)[clear].tolist() == distances.argmin(axis=1)[clear].tolist()


@given(seed=SEEDS, count=st.integers(20, 120))
def test_the_ridge_is_chosen_and_solved_alike_from_sums_and_from_pictures(seed: int, count: int) -> None:
    x, y = pictures(seed, count, 8, 3)
    train, held_out = collect(x[::2], y[::2], 3), collect(x[1::2], y[1::2], 3)
    sums = Sums.rounded(*((part.gram, part.sums, part.examples) for part in (train, held_out)))
    told = [Statistics(*part) for part in sums.parts]
    found, expected = fit(told[0], told[1]), fit(train, held_out)
    assert np.abs(found.weight - expected.weight).max() < 1e-4
