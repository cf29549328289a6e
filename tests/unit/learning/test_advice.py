"""What would help a home's head: more pictures of what, and what cannot be told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fanlight.core.randomness import Keystream
from fanlight.learning.advice import LEVEL, fisher, indistinct, worths
from fanlight.learning.own_classes import Home
from tests.homes import global_head, pictures_of


def test_the_class_that_is_learned_worst_is_asked_for_first() -> None:
    x, y = pictures_of({0: 20, 1: 20, 2: 20, 3: 20, 4: 2})
    x[y == 4] = x[y == 3][:2] * 0.5 + x[y == 4] * 0.5
    home = Home.of(global_head(3), ("Minka", "our car"), x, y)
    found = worths(home, home.solve(), range(5), Keystream(bytes(32)))
    assert found[0].label == 4
    assert found[0].gain > 0.01
    assert sorted(worth.label for worth in found) == list(range(5))
    assert all(worth.gain >= 0 for worth in found)
    assert found == worths(home, home.solve(), range(5), Keystream(bytes(32))), "the same halves say the same"


def test_of_one_picture_nothing_is_reckoned() -> None:
    x, y = pictures_of({0: 5, 1: 5, 3: 1})
    home = Home.of(global_head(3), ("Minka",), x, y)
    told: list[float] = []
    found = worths(home, home.solve(), (0, 1, 3), Keystream(bytes(32)), told.append)
    assert {worth.label for worth in found} == {0, 1}
    assert told == [0.0, 0.5]


def test_two_names_for_one_thing_are_named() -> None:
    x, y = pictures_of({0: 10, 1: 10, 3: 10})
    named = 0
    for seed in range(11, 31):
        twin, _ = pictures_of({3: 10}, seed=seed)
        home = Home.of(
            global_head(3), ("Minka", "Mauz"), np.concatenate([x, twin]), np.concatenate([y, np.full(10, 4)])
        )
        for pair in indistinct(home.solve().held_out, home.y):
            assert (pair.first, pair.second, pair.total) == (3, 4, 20)
            assert pair.chance > LEVEL
            named += 1
    assert named >= 16, "chance looks like a difference once in twenty times"


def test_nothing_is_said_of_too_few() -> None:
    scores = np.zeros((4, 2))
    assert indistinct(scores, np.array([0, 0, 1, 1])) == ()


@pytest.mark.parametrize("n", [3, 6])
def test_fishers_test_of_a_perfect_table(n: int) -> None:
    assert fisher(n, n, 0, n) == pytest.approx(1 / math.comb(2 * n, n))


def test_the_lady_tasting_tea() -> None:
    """Fisher 1935, chapter II: eight cups, four with the milk first; three of four right is 17 in 70."""
    assert fisher(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert fisher(0, 4, 4, 4) == 1.0
