"""The analytic head and prototypes on small examples, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fanlight.errors import DataError, ModelError, SettingsError
from fanlight.learning.analytic import (
    AS_GOOD,
    CONSTANT,
    LAMBDAS,
    SHARPNESS,
    Statistics,
    balance,
    choose,
    collect,
    error_bound,
    fit,
    fit_pictures,
    held_out_error,
    solve,
)
from fanlight.learning.heads import HeadKind, as_read, unit
from fanlight.learning.prototypes import head_of

K = 3


def clouds(count: int, spread: float = 0.15, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Points around three directions in eight dimensions."""
    draw = np.random.default_rng(seed)
    y = np.arange(count) % K
    x = 4 * np.eye(8)[y] + spread * 4 * draw.normal(size=(count, 8))
    return x.astype(np.float32), y


def test_sums_are_what_they_say() -> None:
    x, y = clouds(10)
    found, phi = collect(x, y, K), unit(x).astype(np.float64)
    whole = phi.T @ phi
    assert found.gram.shape == (36,)
    assert np.allclose(found.gram, whole[np.triu_indices(8)], rtol=0, atol=1e-13)
    assert np.allclose(found.sums, phi.T @ np.eye(K)[y], rtol=0, atol=1e-13)
    assert found.examples.tolist() == [4, 3, 3]
    assert found.pictures == 10


@pytest.mark.parametrize("features", [1, 95, 96, 97, 200])
def test_products_are_those_of_float64_below_at_and_above_what_is_multiplied_at_once(features: int) -> None:
    draw = np.random.default_rng(features)
    x, y = draw.normal(size=(1200, features)).astype(np.float32), draw.integers(0, K, 1200)
    phi = unit(x).astype(np.float64)
    whole, halves = collect(x, y, K), collect(x[:333], y[:333], K) + collect(x[333:], y[333:], K)
    assert np.allclose(whole.gram, (phi.T @ phi)[np.triu_indices(features)], rtol=0, atol=1e-11)
    assert np.allclose(whole.sums, phi.T @ np.eye(K)[y], rtol=0, atol=1e-11)
    assert np.allclose(halves.gram, whole.gram, rtol=0, atol=1e-11)
    assert halves.examples.tolist() == whole.examples.tolist()


def test_no_pictures_are_sums_of_zero() -> None:
    none = collect(np.zeros((0, 8), np.float32), np.zeros(0, np.int64), K)
    assert not none.gram.any()
    assert none.pictures == 0


def test_a_solved_head_knows_its_pictures_and_scores_are_near_0_and_1() -> None:
    x, y = clouds(300)
    ridge = solve(collect(x, y, K), 0.1)
    scores = unit(x) @ ridge.weight + ridge.bias
    assert (scores.argmax(axis=1) == y).mean() > 0.98
    assert scores[np.arange(300), y].mean() == pytest.approx(1, abs=0.2)
    logits = ridge.head.logits(as_read(HeadKind.ANALYTIC, x))
    assert np.allclose(logits, SHARPNESS * scores, atol=1e-4)


def test_the_held_out_error_is_the_mean_squared_distance() -> None:
    x, y = clouds(90)
    held_x, held_y = clouds(60, seed=2)
    ridge = solve(collect(x, y, K), 0.3)
    scores = unit(held_x) @ ridge.weight + ridge.bias
    expected = ((scores - np.eye(K)[held_y]) ** 2).sum(axis=1).mean()
    assert held_out_error(ridge, collect(held_x, held_y, K)) == pytest.approx(expected, rel=1e-4)
    assert held_out_error(ridge, collect(held_x[:0], held_y[:0], K)) == 0


def test_noise_asks_for_a_stronger_ridge_and_clean_pictures_for_a_weak_one() -> None:
    clean = [collect(*clouds(60, 0.01, seed), K) for seed in (1, 2)]
    noisy = [collect(*clouds(12, 3.0, seed), K) for seed in (1, 2)]
    assert choose(clean[0], clean[1])[0] < 0.3 < choose(noisy[0], noisy[1])[0]
    nothing = collect(np.zeros((0, 8), np.float32), np.zeros(0, np.int64), K)
    assert choose(clean[0], nothing) == (LAMBDAS[len(LAMBDAS) // 2], None)


@pytest.mark.parametrize("spread", [0.01, 0.3, 1.0, 3.0])
def test_the_search_finds_the_weakest_ridge_that_is_as_good_as_the_best_of_all(spread: float) -> None:
    train, held_out = (collect(*clouds(30, spread, seed), K) for seed in (1, 2))
    errors = {each: held_out_error(solve(train, each), held_out) for each in LAMBDAS}
    strength, error = choose(train, held_out)
    assert strength == min(each for each in LAMBDAS if errors[each] <= AS_GOOD * min(errors.values()))
    assert error == pytest.approx(errors[strength])
    ridge = fit(train, held_out)
    assert (ridge.strength, ridge.held_out_error) == (strength, error)


def test_the_chosen_head_learns_from_the_held_out_pictures_too() -> None:
    x, y = clouds(60)
    train, held_out = collect(x[y != 2], y[y != 2], K), collect(x[y == 2], y[y == 2], K)
    assert fit(train, held_out).head.logits(as_read(HeadKind.ANALYTIC, x[y == 2])).argmax(axis=1).tolist() == [2] * 20


def test_rare_classes_weigh_more_by_the_root_of_how_rare_they_are() -> None:
    x, y = clouds(90, 1.0)
    kept = (y != 2) | (np.arange(90) % 9 == 2)  # a third of the pictures of class 2
    train = collect(x[kept], y[kept], 4)
    plain, balanced = fit(train, collect(x[:0], y[:0], 4)), fit(train, collect(x[:0], y[:0], 4), balanced=True)
    weights = balance(train.examples)
    assert train.examples.tolist() == [30, 30, 10, 0]
    assert weights.tolist() == pytest.approx([math.sqrt(70 / (4 * n)) if n else 0 for n in (30, 30, 10, 0)])
    assert np.allclose(balanced.weight, plain.weight * weights)
    assert np.allclose(balanced.bias, plain.bias * weights)
    assert balance(np.array([5, 5])).tolist() == [1, 1]
    dual = fit_pictures((x[:6], y[:6]), (x[6:7], y[6:7]), 4, balanced=True)
    assert np.allclose(
        dual.weight, fit(collect(x[:6], y[:6], 4), collect(x[6:7], y[6:7], 4), balanced=True).weight, atol=1e-4
    )


@pytest.mark.parametrize(("count", "held"), [(5, 3), (5, 0), (7, 9), (60, 20)])
def test_few_pictures_are_solved_for_in_their_own_space_with_the_same_result(count: int, held: int) -> None:
    """Below, at and above as many pictures as features; with and without held-out ones."""
    train, held_out = clouds(count), clouds(held, seed=2)
    found = fit_pictures(train, held_out, K)
    expected = fit(collect(*train, K), collect(*held_out, K))
    assert np.allclose(found.weight, expected.weight, atol=1e-4)
    assert np.allclose(found.bias, expected.bias, atol=1e-4)


def test_the_bound_says_nothing_where_errors_may_be_as_large_as_the_ridge() -> None:
    train, held_out = (collect(*clouds(count), K) for count in (300, 100))
    assert 0 < error_bound(train, held_out, 10, 0.1) < 1e-5
    assert error_bound(train, held_out, 10, 1e-9) == math.inf


def test_prototypes_are_class_means() -> None:
    x, y = clouds(300)
    statistics = collect(x, y, 4)  # the fourth class has no pictures
    head = head_of(statistics.sums, statistics.examples)
    predicted = head.logits(as_read(HeadKind.PROTOTYPES, x)).argmax(axis=1)
    assert (predicted == y).mean() > 0.98
    assert not (predicted == 3).any()
    away = head.logits(as_read(HeadKind.PROTOTYPES, -x))
    assert not (away.argmax(axis=1) == 3).any(), "not even for pictures that are far from all classes"


def test_features_are_read_as_the_kind_of_head_asks() -> None:
    x, _ = clouds(5)
    assert as_read(HeadKind.SOFTMAX, x) is x
    for kind in (HeadKind.ANALYTIC, HeadKind.PROTOTYPES):
        assert np.allclose(np.linalg.norm(as_read(kind, x), axis=1), np.sqrt(8), rtol=1e-6)
    assert not unit(np.zeros((1, 8), np.float32)).any()
    assert np.allclose(np.linalg.norm(unit(np.full((1, 8), 1e-30, np.float32)), axis=1), 1)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros(3), np.zeros(3, np.int64)),
        (np.zeros((3, 2)), np.zeros(2, np.int64)),
        (np.full((1, 2), np.nan), np.zeros(1, np.int64)),
        (np.zeros((1, 2)), np.array([3])),
        (np.zeros((1, 2)), np.array([-1])),
    ],
)
def test_pictures_that_do_not_fit_are_refused(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(DataError):
        collect(x.astype(np.float32), y, K)


def test_what_cannot_be_solved_is_refused() -> None:
    statistics = collect(*clouds(9), K)
    with pytest.raises(SettingsError, match="positive"):
        solve(statistics, 0)
    crafted = Statistics(-statistics.gram, statistics.sums * 0, statistics.examples * 0)
    exact = Statistics(np.array([-1.0]), np.zeros((1, 2)), np.zeros(2, np.int64))
    with pytest.raises(ModelError, match="no solution"):
        solve(exact, 1.0)
    with pytest.raises(ModelError, match="do not fit"):
        solve(Statistics(crafted.gram[1:], crafted.sums, crafted.examples), 1.0)
    assert CONSTANT < 1
