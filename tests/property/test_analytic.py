"""What must hold for every split of the pictures: the head from summed statistics is that of all in one place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fanlight.learning.analytic import (
    CONSTANT,
    LAMBDAS,
    SHARPNESS,
    Statistics,
    balance,
    choose,
    collect,
    error_bound,
    fit,
    solve,
)
from fanlight.learning.heads import SoftmaxHead, unit
from fanlight.learning.prototypes import head_of
from fanlight.protocol.statistics import Sums, why_impossible

SEEDS = st.integers(0, 2**32 - 1)


def pictures(seed: int, count: int, features: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of any length, so that they have to be brought to length 1, and labels of which some may not occur."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, features)) * draw.uniform(0.01, 100, size=(count, 1))
    return x.astype(np.float32), draw.integers(0, classes, count)


def statistics_of(sums: Sums) -> list[Statistics]:
    """What the sums say of either part."""
    return [Statistics(*part) for part in sums.parts]


def summed(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    owner: NDArray[np.int64],
    classes: int,
    held_out: NDArray[np.bool_] | None = None,
) -> tuple[Sums, int]:
    """The sum over devices of what each has rounded, and how many devices there are."""
    held = np.zeros(y.size, np.bool_) if held_out is None else held_out
    total = None
    for device in np.unique(owner):
        own = [collect(x[mine], y[mine], classes) for mine in ((owner == device) & ~held, (owner == device) & held)]
        sums = Sums.rounded(*((part.gram, part.sums, part.examples) for part in own))
        total = sums if total is None else total + sums
    assert total is not None
    return total, np.unique(owner).size


def in_one_place(x: NDArray[np.float32], y: NDArray[np.int64], classes: int, strength: float) -> NDArray[np.float64]:
    """Ridge regression by its definition, in float64; of few pictures in their own space (Saunders et al. 1998)."""
    phi, targets = with_constant(unit(x)), np.eye(classes)[y]
    if len(x) < phi.shape[1]:
        found = phi.T @ np.linalg.solve(phi @ phi.T + strength * np.eye(len(x)), targets)
    else:
        found = np.linalg.solve(phi.T @ phi + strength * np.eye(phi.shape[1]), phi.T @ targets)
    return found.astype(np.float64, copy=False)


def with_constant(phi: NDArray[np.float32]) -> NDArray[np.float64]:
    """In float64, with the constant behind them."""
    return np.hstack([phi.astype(np.float64), np.full((len(phi), 1), CONSTANT)])


def scores_of(head: SoftmaxHead, phi: NDArray[np.float32]) -> NDArray[np.float64]:
    """What a published head says of features of length 1, but for its factor."""
    read = phi.astype(np.float64) * np.sqrt(phi.shape[1])
    scores: NDArray[np.float64] = (read @ head.weight.astype(np.float64) + head.bias) / SHARPNESS
    return scores


@given(
    seed=SEEDS,
    count=st.integers(1, 600),
    features=st.sampled_from([1, 2, 3, 8, 24, 97, 200]),
    classes=st.integers(2, 6),
    devices=st.integers(1, 40),
    held=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
    balanced=st.booleans(),
)
def test_any_split_publishes_the_pooled_head_within_the_proved_bound(
    seed: int, count: int, features: int, classes: int, devices: int, held: float, *, balanced: bool
) -> None:
    x, y = pictures(seed, count, features, classes)
    draw = np.random.default_rng(seed + 1)
    owner, held_out = draw.integers(0, devices, count), draw.random(count) < held
    total, n = summed(x, y, owner, classes, held_out)
    assert why_impossible(total, n) is None
    train, valid = collect(x[~held_out], y[~held_out], classes), collect(x[held_out], y[held_out], classes)
    found = fit(*statistics_of(total), balanced=balanced)
    assert found.strength == choose(train, valid)[0], "no λ of these is so near to 2 % above the least"

    weights = balance(np.bincount(y, minlength=classes)) if balanced else np.ones(classes)
    phi = unit(draw.normal(size=(20, features)).astype(np.float32))
    expected = with_constant(phi) @ in_one_place(x, y, classes, found.strength) * weights
    bound = error_bound(train, valid, n, found.strength, balanced=balanced)
    assert bound < 0.02 * weights.max(), "it says something"
    assert np.linalg.norm(scores_of(found.head, phi) - expected, axis=1).max() <= bound


@given(seed=SEEDS, features=st.sampled_from([1, 5, 64, 200]), roundings=st.sampled_from([1, 40, 1000]))
def test_nor_is_it_further_away_if_every_rounding_goes_the_same_way(seed: int, features: int, roundings: int) -> None:
    """Half a step for each device, part and number, with signs that fit the solution."""
    x, y = pictures(seed, 150, features, 3)
    train, valid = collect(x[::2], y[::2], 3), collect(x[1::2], y[1::2], 3)
    strength, worst = 0.03, roundings * 2.0**-33
    exact = in_one_place(x, y, 3, strength)
    signs = np.sign(exact[:-1, 0])
    gram = worst * np.outer(signs, signs)[np.triu_indices(features)]
    class_sums = -worst * np.sign(exact[:-1])
    moved = [Statistics(part.gram + gram, part.sums + class_sums, part.examples) for part in (train, valid)]
    phi = unit(np.vstack([signs, np.random.default_rng(seed).normal(size=(20, features))]).astype(np.float32))
    off = scores_of(solve(moved[0] + moved[1], strength).head, phi) - with_constant(phi) @ exact
    assert np.linalg.norm(off, axis=1).max() <= error_bound(train, valid, roundings, strength)


@pytest.mark.parametrize("devices", [1, 2, 50])
def test_with_1280_features_logits_are_those_of_float64_to_a_ten_thousandth(devices: int) -> None:
    """Few pictures, much alike, and so a weak ridge, which is where rounding shows: float32 products fail here."""
    draw = np.random.default_rng(6)
    y = np.arange(160) % 2
    common, of_class, own = draw.normal(size=1280), draw.normal(size=(2, 1280))[y], draw.normal(size=(160, 1280))
    x = (3 * common + 0.1 * of_class + 0.1 * own).astype(np.float32)
    held_out = np.arange(160) % 4 == 3
    total, _ = summed(x, y, np.arange(160) // 2 % devices, 2, held_out)
    found = fit(*statistics_of(total), balanced=True)
    assert found.strength == LAMBDAS[0]
    phi = unit(x[:40] + draw.normal(size=(40, 1280)).astype(np.float32))
    expected = with_constant(phi) @ in_one_place(x, y, 2, found.strength)
    assert SHARPNESS * np.abs(scores_of(found.head, phi) - expected).max() < 1e-4


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
