"""A home's own classes on top of a global head: held against the same regression by its definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fanlight.errors import DataError
from fanlight.learning.analytic import SHARPNESS
from fanlight.learning.heads import HeadKind
from fanlight.learning.own_classes import CONSTANT, STRENGTH, Home, levels, rarity
from tests.homes import FEATURES, global_head, pictures_of

NAMES = ("Minka", "our car")


def home_of(kind: HeadKind = HeadKind.ANALYTIC, **changes: int) -> Home:
    x, y = pictures_of({0: 9, 1: 7, 2: 5, 3: 6, 4: 3, **{int(k[1:]): n for k, n in changes.items()}})
    return Home.of(global_head(3, kind), NAMES, x, y)


@pytest.mark.parametrize("kind", list(HeadKind))
def test_it_is_ridge_regression_towards_the_global_head(kind: HeadKind) -> None:
    home = home_of(kind)
    solved = home.solve()
    phi = np.hstack([home.phi, np.full((home.y.size, 1), CONSTANT)])
    highest, base = levels(home.logits[home.y < 3])
    rare = rarity(home.y, 5)
    wanted = np.zeros((home.y.size, 5))
    for row, label in enumerate(home.y):
        if label >= 3:
            wanted[row, :3] = base - home.logits[row]
            wanted[row, label] = (highest - base) * max(1.0, rare[label])
    weights = np.diag(rare[home.y])
    change = np.linalg.solve(phi.T @ weights @ phi + STRENGTH * np.eye(phi.shape[1]), phi.T @ weights @ wanted)
    head = home.head(solved)
    assert head.classes == ("a", "b", "c", *NAMES)
    x, _ = pictures_of({0: 4, 3: 4, 4: 4}, seed=5)
    read = head.read(x)
    of_test = np.hstack([read / np.sqrt(FEATURES), np.full((len(x), 1), CONSTANT)])
    start = np.hstack([home.model.head.logits(read), np.full((len(x), 2), base)])
    assert_allclose(head.head.logits(read), start + of_test @ change, atol=2e-4)


def test_what_is_left_out_is_named_by_the_head_of_the_others() -> None:
    """The closed form leaves out a picture's row; the levels and the rarity are those of all."""
    home = home_of()
    solved = home.solve()
    rare = rarity(home.y, 5)
    wanted = np.linalg.inv(np.linalg.inv(home.gram + np.diag(STRENGTH / rare[home.y]))) @ solved.shares
    for left in (0, 12, 25):
        others = np.delete(np.arange(home.y.size), left)
        gram = home.gram[np.ix_(others, others)] + np.diag(STRENGTH / rare[home.y[others]])
        found = home.gram[left, others] @ np.linalg.solve(gram, wanted[others])
        start = np.concatenate([home.logits[left], np.full(2, solved.base)])
        assert_allclose(solved.held_out[left], start + found, atol=1e-8)


def test_pictures_that_look_alike_are_left_out_together() -> None:
    x, y = pictures_of({0: 6, 1: 6, 2: 6, 3: 6})
    groups, group = np.arange(y.size), np.array([3, 8, 20])
    groups[group] = 3
    model = global_head(3)
    home, alone = Home.of(model, ("Minka",), x, y, groups), Home.of(model, ("Minka",), x, y)
    solved = home.solve()
    others = np.flatnonzero(groups != 3)
    rare = rarity(y, 4)
    wanted = (home.gram + np.diag(STRENGTH / rare[y])) @ solved.shares
    gram = home.gram[np.ix_(others, others)] + np.diag(STRENGTH / rare[y[others]])
    found = home.gram[np.ix_(group, others)] @ np.linalg.solve(gram, wanted[others])
    start = np.hstack([home.logits[group], np.full((3, 1), solved.base)])
    assert_allclose(solved.held_out[group], start + found, atol=1e-8)
    assert_allclose(solved.held_out[others], alone.solve().held_out[others])
    assert_array_equal(home.head(solved).weight, alone.head(alone.solve()).weight)


def test_scores_of_other_pictures_are_those_of_the_head_of_some() -> None:
    home = home_of()
    some = np.flatnonzero(np.arange(home.y.size) % 3 > 0)
    solved = home.solve(some)
    smaller = Home(home.model, home.names, home.phi[some], home.logits[some], home.y[some], np.arange(some.size))
    head = smaller.head(smaller.solve())
    others = np.flatnonzero(np.arange(home.y.size) % 3 == 0)
    x, _ = pictures_of({0: 9, 1: 7, 2: 5, 3: 6, 4: 3})
    assert_allclose(home.scores(solved, some, others), head.head.logits(head.read(x[others])), atol=2e-4)


def test_six_pictures_are_enough_and_the_task_keeps_what_it_knows() -> None:
    home = home_of(_3=6, _4=6)
    head = home.head(home.solve())
    x, y = pictures_of(dict.fromkeys(range(5), 40), seed=9)
    named = head.head.logits(head.read(x)).argmax(axis=1)
    alone = home.model.head.logits(home.model.read(x)).argmax(axis=1)
    assert (named[y >= 3] == y[y >= 3]).mean() > 0.9
    assert (named[y < 3] == y[y < 3]).mean() > (alone[y < 3] == y[y < 3]).mean() - 0.05


def test_without_own_names_the_head_is_the_global_one_bit_for_bit() -> None:
    x, y = pictures_of({0: 4, 1: 4, 2: 4})
    model = global_head(3)
    home = Home.of(model, (), x, y)
    assert home.head(home.solve()) is model
    assert_array_equal(home.solve().held_out, home.logits)


def test_a_global_head_that_knows_nothing_loses_no_picture_to_the_own_names() -> None:
    model = global_head(3)
    blank = replace(model, weight=np.zeros_like(model.weight), bias=np.zeros_like(model.bias))
    x, y = pictures_of({0: 9, 1: 9, 2: 9, 3: 6})
    home = Home.of(blank, ("Minka",), x, y)
    assert levels(home.logits) == (0.0, 0.0)
    solved = home.solve()
    assert (solved.held_out.argmax(axis=1) == y).mean() > 0.9
    assert solved.held_out.max() < 2 * SHARPNESS


def test_own_names_alone_are_learned_too() -> None:
    x, y = pictures_of({3: 6, 4: 6})
    home = Home.of(global_head(3), NAMES, x, y)
    assert (home.solve().held_out.argmax(axis=1) == y).mean() > 0.8


@pytest.mark.parametrize(
    ("names", "labels"),
    [(("a",), (0, 3)), (("Minka", "Minka"), (0, 3, 4)), (NAMES, (0, 3)), (("Minka",), (0, 3, 4))],
)
def test_what_cannot_be_used_is_refused(names: tuple[str, ...], labels: tuple[int, ...]) -> None:
    x, y = pictures_of(dict.fromkeys(labels, 3))
    with pytest.raises(DataError):
        Home.of(global_head(3), names, x, y)


def test_features_that_are_not_finite_are_refused() -> None:
    x, y = pictures_of({0: 3, 3: 3})
    x[1, 1] = np.nan
    with pytest.raises(DataError, match="finite"):
        Home.of(global_head(3), ("Minka",), x, y)
