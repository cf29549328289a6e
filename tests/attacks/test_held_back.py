"""Members have two versions of a model, and want the row of a class that is held back because one home alone has it.

They know by what rule the versions were made, and may have any idea of the pictures. What is not in the rows any more
shows elsewhere, and is told in ``test_what_remains.py``.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.learning import analytic
from fanlight.learning.algorithms.algorithm import NOTHING
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.algorithms.robust import ROBUST, flaw_with
from fanlight.learning.heads import SoftmaxHead, zero_head
from fanlight.learning.held_back import HeldBack
from fanlight.protocol.contribution import Totals
from fanlight.protocol.statistics import Sums
from fanlight.services.main_server import solving
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice, Combine
from fanlight.services.main_server.next_version import Moved, move
from tests.attacks.picture_attacks import K, Pictures, Reals, columns_of
from tests.protocol_world import plan_of

UNIT = 1e-7
ALONE = HeldBack(np.array([True, False, False, False]))
DEPLOYED = [name for name, recipe in RECIPES.items() if not recipe.why_not]
ROUNDS = 20


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """The pictures of homes."""
    return Pictures.drawn(tmp_path_factory.mktemp("backbone"), "homes")


def likeness(a: Reals, b: Reals) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def mean_of(theirs: Pictures, start: SoftmaxHead, homes: list[NDArray[np.intp]], name: str) -> Reals:
    """The mean update (d,) of a round, as main learns it."""
    updates = [theirs.update(start, which, f"{name} {number}") for number, which in enumerate(homes)]
    mean: Reals = np.average(updates, axis=0, weights=[which.size for which in homes])
    return mean


def published(start: SoftmaxHead, mean: Reals, held_back: HeldBack) -> Reals:
    """What a version moved by, (f, K)."""
    totals = Totals(10, weight=100, steps=np.rint(mean / UNIT).astype(np.int32), unit=UNIT)
    after = move(start, NOTHING, AlgorithmChoice(), totals, held_back=held_back, members=10).head
    return after.weight.astype(np.float64) - start.weight


def test_the_row_that_is_held_back_is_what_the_others_lack_to_nothing_and_they_are_not_published_as_they_are(
    theirs: Pictures,
) -> None:
    """Probabilities of all classes gain nothing together, so the rows of an update, and of a mean, add up to zero.

    Were the others published as they are, to add them up would be enough. As they are published that gives nothing, and
    no sum of them with whatever factors, not even such as only who has the row could find, comes near it.
    """
    start, draws = zero_head(theirs.x.shape[1], K), np.random.default_rng(9)
    homes = [theirs.some((0, 1, 2), 4, draws), *(theirs.some((1, 2, 3), 6, draws) for _ in range(9))]
    mean = mean_of(theirs, start, homes, "held back")
    wanted = columns_of(mean)[0][:, 0]

    as_they_are = published(start, mean, HeldBack(ALONE.classes, hides=False))
    assert likeness(-as_they_are.sum(axis=1), wanted) > 0.999

    moved = published(start, mean, ALONE)
    assert not moved[:, 0].any()
    assert np.linalg.norm(moved.sum(axis=1)) < 1e-5 * np.linalg.norm(moved)
    factors, *_ = np.linalg.lstsq(moved, wanted, rcond=None)
    assert likeness(moved @ factors, wanted) < 0.4


def test_who_adds_up_the_rows_guesses_which_of_two_pictures_the_home_has(theirs: Pictures) -> None:
    """A game of twenty rounds: right in nearly all if rows were published as they are, else as with a coin."""
    start, right = zero_head(theirs.x.shape[1], K), {True: 0, False: 0}
    gallery = theirs.x / np.linalg.norm(theirs.x, axis=1, keepdims=True)
    for game in range(ROUNDS):
        draws = np.random.default_rng(game)
        has, has_not = theirs.some((0,), 2, draws)
        homes = [np.concatenate([[has], theirs.some((1, 2), 4, draws)])]
        homes += [theirs.some((1, 2, 3), 6, draws) for _ in range(9)]
        mean = mean_of(theirs, start, homes, f"game {game}")
        for hides in right:
            seen = -published(start, mean, HeldBack(ALONE.classes, hides=hides)).sum(axis=1)
            right[hides] += bool(seen @ (gallery[has] - gallery[has_not]) > 0)
    assert right[False] >= 15
    assert 5 <= right[True] <= 15


@pytest.mark.parametrize(
    ("name", "combine"),
    [
        (name, combine)
        for name in DEPLOYED
        for combine in ("mean", *ROBUST)
        if combine == "mean" or not flaw_with(RECIPES[name].of({}))
    ],
)
def test_nothing_that_is_published_in_three_rounds_depends_on_the_row_or_on_what_the_others_add_up_to(
    name: str, combine: Combine
) -> None:
    """Two worlds in which the other rows differ alike: nobody who has all versions can tell which one it is.

    A memory of the server that sums up what devices remember knows both; what it publishes may be rounded otherwise.
    """
    choice, features = AlgorithmChoice(name=name, combine=combine), 40
    size = (features + 1) * K

    def versions(world: int) -> list[NDArray[np.float32]]:
        alike, own = np.random.default_rng(1), np.random.default_rng(world)

        def steps() -> NDArray[np.int32]:
            table = alike.integers(-(2**20), 2**20, (features + 1, K))
            table[:, 1:] += own.integers(-(2**24), 2**24, (features + 1, 1))
            table[:, 0] = -table[:, 1:].sum(axis=1)
            return table.astype(np.int32).ravel()

        def shard(count: int) -> Totals:
            return Totals(count, 10 * count, steps(), UNIT, control=steps(), control_unit=UNIT, local_steps=1.5)

        made, seen = Moved(zero_head(features, K), NOTHING, None, {}), []
        for _ in range(3):
            shards = () if combine == "mean" else tuple(shard(2) for _ in range(5))
            totals = dataclasses.replace(shard(10), shards=shards)
            made = move(made.head, made.memory, choice, totals, held_back=ALONE, members=12)
            told = [made.head, *([made.control.head] if made.control else [])]
            seen.append(np.concatenate([part.ravel() for head in told for part in (head.weight, head.bias)]))
        assert all(vector.size % size == 0 and vector.any() for vector in seen)
        return seen

    for one, other in zip(versions(2), versions(3), strict=True):
        if choice.algorithm.mirrors:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)
        else:
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("balanced", [False, True])
def test_the_row_of_a_ridge_that_is_held_back_does_not_follow_from_the_others_either(
    theirs: Pictures, *, balanced: bool
) -> None:
    """All rows together are the ridge of "is it anything?", which hardly depends on whose pictures those were.

    With many pictures everybody knows it; here the attacker is given it.
    """
    draws = np.random.default_rng(9)
    homes = [theirs.some((0, 1, 2), 4, draws), *(theirs.some((1, 2, 3), 6, draws) for _ in range(9))]
    which = np.concatenate(homes)
    statistics = analytic.collect(theirs.x[which], theirs.y[which], K)
    nothing = analytic.collect(theirs.x[:0], theirs.y[:0], K)
    sums = Sums.rounded(*((part.gram, part.sums, part.examples) for part in (statistics, nothing)))
    plan = plan_of(head="analytic", kind="statistics", class_weights=balanced)
    whole, made = solving.solve(plan, sums, HeldBack(np.zeros(K, np.bool_)))
    assert made is not None
    weights = analytic.balance(statistics.examples) if balanced else np.ones(K)
    anything = (whole.weight / weights).sum(axis=1)
    wanted = whole.weight[:, 0].astype(np.float64)

    def guess(hides: bool) -> float:
        seen, _ = solving.solve(plan, sums, HeldBack(ALONE.classes, hides=hides))
        assert not seen.weight[:, 0].any()
        return likeness(anything - (seen.weight[:, 1:] / weights[1:]).sum(axis=1), wanted)

    assert guess(hides=False) > 0.99
    assert guess(hides=True) < 0.5
