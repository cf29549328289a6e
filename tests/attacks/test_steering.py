"""How far somebody who decides the mean of every round moves the model: what each algorithm makes of a bounded mean.

A sum that passes has a mean of norm B = C·(1 + what rounding takes) at most (``test_cheating_members``). What stands in
``docs/threat-model.md`` for each algorithm is what a round moves the model then, when such means came in t rounds in a
row. Here means of that norm come in all the ways in which an algorithm's memory could be driven.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.quantise import norm_of_sum
from fanlight.core.segments import slices
from fanlight.learning.algorithms.algorithm import Gathered
from fanlight.learning.algorithms.registry import RECIPES, recipe
from fanlight.learning.heads import zero_head
from fanlight.learning.held_back import HeldBack
from fanlight.protocol import extras
from fanlight.protocol.extras import STEPS_MAX
from fanlight.protocol.plan import PlannedAlgorithm
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.next_version import move
from tests.cheats import adding, rewritten
from tests.protocol_world import Round, World, contribution_of, plan_of

Reals = NDArray[np.float64]
D, ROUNDS, B = 64, 30, 10.0
"""Parameters, rounds, and the longest mean that passes."""
ATTACKS = ("one direction", "to and fro", "one coordinate", "a new coordinate each time", "quiet, then all", "any")


def means(attack: str) -> Iterator[Reals]:
    """(D,) of norm B each, or of less."""
    draws, one = np.random.default_rng(9), np.full(D, B / math.sqrt(D))
    for number in range(ROUNDS):
        match attack:
            case "one direction":
                yield one
            case "to and fro":
                yield one * (-1) ** number
            case "one coordinate":
                yield B * np.eye(D)[0]
            case "a new coordinate each time":
                yield B * np.eye(D)[number % D]
            case "quiet, then all":
                yield one * (1e-6 if number < ROUNDS // 2 else 1)
            case _:
                drawn = draws.normal(size=D) * np.exp(3 * draws.normal(size=D))
                yield B * drawn / np.linalg.norm(drawn)


@dataclass(frozen=True)
class Stated:
    """Most that round t (from 1) moves the model, in L2; ``reached`` is the least share of it that an attack has."""

    most: Callable[[int], float]
    reached: float = 0.99
    steps: float | None = None


def by_sizes(times: float) -> Stated:
    """Each number by ``times``·η at most, and all of them by η·B/τ."""
    return Stated(lambda _t: min(times * ETA * math.sqrt(D), ETA * B / TAU), reached=0.15)


BETA, BETA2, ETA, TAU = 0.9, 0.99, 0.01, 0.0001
ADAM = (1 - BETA) / math.sqrt((1 - BETA2) * (1 - BETA**2 / BETA2))
YOGI = (1 - BETA) / ((1 - BETA / math.sqrt(BETA2)) * math.sqrt(1 - BETA2))
LIKE_FEDAVG = ("fedavg", "fedprox", "ditto", "fedper", "fedrep", "fedbn", "fedbuff", "scaffold")
STATED: dict[str, Stated] = {
    **dict.fromkeys(LIKE_FEDAVG, Stated(lambda _t: B)),
    "fednova": Stated(lambda _t: STEPS_MAX * B, steps=STEPS_MAX),
    "fedavgm": Stated(lambda t: 0.1 * B * (1 - BETA**t) / (1 - BETA)),
    "feddyn": Stated(lambda t: (1 + t) * B),
    "fedadagrad": by_sizes(1.0),
    "fedadam": by_sizes(ADAM),
    "fedyogi": by_sizes(YOGI),
}


def test_every_algorithm_is_here() -> None:
    assert STATED.keys() == RECIPES.keys()
    assert (round(ADAM, 2), round(YOGI, 1)) == (2.35, 10.5)


@pytest.mark.parametrize("name", STATED)
def test_no_algorithm_lets_a_bounded_mean_move_the_model_further_than_stated(name: str) -> None:
    """With the parameters that it has if nothing else is said; and one of these attacks comes near what is stated."""
    stated, best = STATED[name], 0.0
    for attack in ATTACKS:
        algorithm = recipe(name).of({})
        state = algorithm.init(np.zeros(D))
        for number, mean in enumerate(means(attack), start=1):
            after = algorithm.apply(state, Gathered(mean, control=np.zeros(D), steps=stated.steps))
            share = float(np.linalg.norm(after.parameters - state.parameters)) / stated.most(number)
            assert share <= 1 + 1e-9, (attack, number)
            best, state = max(best, share), after
    assert best >= stated.reached


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_momentum_adds_up_what_many_rounds_said(rate: float) -> None:
    """η·B·(1 - βᵗ)/(1 - β): with η = 1 - β never above B, with η = 1 already 8.8 times as much in the 20th round."""
    algorithm = recipe("fedavgm").of({"learning_rate": rate})
    state = algorithm.init(np.zeros(D))
    for number, mean in zip(range(1, 21), means("one direction"), strict=False):
        before, state = state, algorithm.apply(state, Gathered(mean))
        moved = float(np.linalg.norm(state.parameters - before.parameters))
        assert moved == pytest.approx(rate * B * (1 - 0.9**number) / 0.1)
    assert moved == pytest.approx(8.784 * rate * B, rel=1e-3)


def test_feddyn_goes_on_moving_when_the_cheat_is_gone() -> None:
    """(1 + st)·B in the t-th round, whatever α; and s·t·B in each round after it, for the drift stays as it is."""
    for alpha in (0.01, 1.0, 100.0):
        algorithm = recipe("feddyn").of({"alpha": alpha})
        state, moved = algorithm.init(np.zeros(D)), []
        for mean in [B * np.eye(D)[0]] * 5 + [np.zeros(D)] * 3:
            before, state = state, algorithm.apply(state, Gathered(mean, count=5, members=10))
            moved.append(float(np.linalg.norm(state.parameters - before.parameters)) / B)
        assert moved == pytest.approx([1.5, 2, 2.5, 3, 3.5, 2.5, 2.5, 2.5])


def test_in_feddyn_a_cheat_with_many_pictures_stays_as_many() -> None:
    """Its round has 60 pictures a device, those after it 10: these move by 6·s·B."""
    algorithm = recipe("feddyn").of({})
    state = algorithm.apply(algorithm.init(np.zeros(D)), Gathered(B * np.eye(D)[0], count=5, members=10, weight=300))
    after = algorithm.apply(state, Gathered(np.zeros(D), count=5, members=10, weight=50))
    assert float(np.linalg.norm(after.parameters - state.parameters)) / B == pytest.approx(6 * 0.5)


def test_what_is_divided_by_its_size_does_not_ask_how_long_the_mean_was() -> None:
    """A mean a thousand times shorter than the clip moves FedAdagrad's model as far, but for τ."""
    algorithm = recipe("fedadagrad").of({})
    moved = [
        float(np.linalg.norm(algorithm.apply(algorithm.init(np.zeros(D)), Gathered(np.full(D, size))).parameters))
        for size in (1.0, 1000.0)
    ]
    assert moved == pytest.approx([ETA * math.sqrt(D)] * 2, rel=2e-3)


WORLD, CAP, CLIP = World(5, "steered"), 40, 10.0


def test_one_member_moves_fednovas_model_by_a_hundred_times_the_clip() -> None:
    """It says W_max pictures and, for all, a hundred times the typical steps; its update fills what the others leave.

    The plan cannot bound the number of steps: a home trains on all its pictures, also where fewer count, and how many
    it has nobody knows.
    """
    plan = plan_of(features=50, algorithm=PlannedAlgorithm(name="fednova", parameters=(), steps=True))
    told = Round(WORLD, plan, most_pictures=CAP).open()
    at, steps = slices(told.proposal.layout), told.proposal.layout[1].hi
    sent = []
    for number, owner in enumerate(WORLD.owners):
        said = dataclasses.replace(contribution_of(plan, number), update=np.zeros(plan.parameters), steps=1.0)
        sent.append(told.commit(owner, said))
    others = np.sum([one.plain for one in sent[1:]], axis=0)
    aim = others + sent[0].plain
    aim[0] = others[0] + CAP
    radius = norm_of_sum(steps, plan.parameters, 5, int(aim[0]) / CAP)
    aim[at["update"]] = math.floor(radius / math.sqrt(plan.parameters))
    aim[at["steps"]] = extras.steps(STEPS_MAX, int(aim[0]))
    rewritten(told, sent[0], adding(slice(None), aim - others - sent[0].plain))
    for one in sent:
        told.send(one)
    totals = told.agree().take_release(*told.release()).totals
    assert totals is not None
    assert totals.local_steps == STEPS_MAX
    start = zero_head(plan.features, len(plan.classes))
    after = move(
        start, {}, AlgorithmChoice(name="fednova"), totals, held_back=HeldBack(np.zeros(2, np.bool_)), members=5
    ).head
    moved = math.hypot(float(np.linalg.norm(after.weight)), float(np.linalg.norm(after.bias)))
    assert 97 * CLIP < moved < 1.01 * STEPS_MAX * CLIP
