"""One member that lies: how far it gets with a weight, an update or a class that it makes up.

A device proves nothing about what is under its masks, so main can only look at the sum. These tests say what passes, as
exactly as what does not: the bounds are those of ``docs/threat-model.md``.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fanlight.core.quantise import norm_of_sum
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment, quantisation_steps, slices
from fanlight.protocol import main_round
from fanlight.protocol.closing import SUM_NOT_USABLE, Outcome
from fanlight.protocol.contribution import Totals, centre, check_sum
from fanlight.protocol.signing import Signed
from tests.cheats import adding, cheated, rewritten
from tests.protocol_world import Round, World, contribution_of, secret

WORLD = World(5, "cheated")
CHEAT = WORLD.owners[0]
HONEST = WORLD.owners[1:]
CLIP = 10.0
LONG = "update-norm-too-large"
CAP = 40
"""W_max of these rounds. The honest ones count 20, 30, 40 and 40 pictures."""


def started(**changes: object) -> Round:
    return Round(WORLD, most_pictures=CAP, **changes).open()  # type: ignore[arg-type]


def place_of(told: Round, kind: str) -> slice:
    return slices(told.proposal.layout)[kind]


def steps_of(told: Round) -> int:
    return told.proposal.layout[1].hi


def ended(told: Round) -> tuple[str, Totals | None]:
    step = told.take_release(*told.release())
    (flaw,) = step.flaws
    reason = Outcome.decode(Signed.decode(step.reply).payload).reason
    assert reason == ("ok" if flaw == "ok" else SUM_NOT_USABLE), "which check failed, main tells nobody"
    return flaw, step.totals


def honest_pictures() -> int:
    return sum(min(contribution_of(started().plan, number).examples, CAP) for number in range(1, len(WORLD.owners)))


# ---- weight


@pytest.mark.parametrize("weight", [5 * CAP + 1, -1, 10**6, -(10**6)])
def test_a_sum_that_counts_more_pictures_than_there_can_be_or_less_than_none_fails(weight: int) -> None:
    told = started()
    cheated(told, CHEAT, adding(slice(0, 1), weight - honest_pictures() - 10))
    assert ended(told) == ("weight-out-of-range", None)


def test_a_weight_that_leaves_none_fails() -> None:
    told = started()
    cheated(told, CHEAT, adding(slice(0, 1), -honest_pictures() - 10))
    assert ended(told) == ("no-pictures", None)


@pytest.mark.parametrize("left", [1, 7, 130])
@pytest.mark.parametrize("update_bits", [0, 10, 16])
def test_a_negative_weight_does_not_lever_the_mean(left: int, update_bits: int) -> None:
    """The mean is divided by Σn. Who makes Σn small cannot push as if it were large: the mean has a longest.

    The cheat is given all it could wish for, the others' updates. What is just short enough passes, and makes the mean
    as long as stated: C and what rounding takes. What is just too long fails.
    """
    told = started(update_bits=update_bits)
    update, d = place_of(told, "update"), told.plan.parameters
    radius = norm_of_sum(steps_of(told), d, 5, left / CAP)
    for coordinate, reason in ((math.floor(radius / math.sqrt(d)), "ok"), (math.ceil(radius / math.sqrt(d)), LONG)):
        told = started(update_bits=update_bits)
        honest = np.sum([told.commit(owner).plain for owner in WORLD.owners], axis=0)
        aim = honest.copy()
        aim[0], aim[update] = left, coordinate
        cheated(told, CHEAT, adding(slice(None), aim - honest))
        found, totals = ended(told)
        assert found == reason
        if totals is not None and totals.mean is not None:
            assert totals.weight == left
            stated = CLIP * (1 + CAP * (radius - steps_of(told) * left / CAP) / (steps_of(told) * left))
            assert 0.8 * stated < np.linalg.norm(totals.mean) <= stated * (1 + 1e-9)
            assert stated < (1.01 if update_bits == 0 else 25) * CLIP, "and not W_max·|S|·C, as when |S|·Q passed"


def test_the_largest_weight_that_passes_is_all_that_is_left_of_the_cap() -> None:
    """Σn ≤ |S|·W_max: a cheat takes the share (|S|·W_max − Σ others)/(|S|·W_max), and no more."""
    told = started()
    others = honest_pictures()
    most = 5 * CAP - others
    cheated(told, CHEAT, adding(slice(0, 1), most - 10))
    reason, totals = ended(told)
    assert (reason, totals and totals.weight) == ("ok", 5 * CAP)
    assert most / (5 * CAP) == pytest.approx(0.35)


# ---- the update


@pytest.mark.parametrize("times", [0.5, 1.5, 4.0])
def test_an_update_beyond_the_clip_moves_the_sum_by_no_more_than_the_others_leave(times: float) -> None:
    """Honest sum and released sum lie in one ball, whose radius goes by the pictures counted."""
    told = started()
    update = place_of(told, "update")
    radius = norm_of_sum(steps_of(told), told.plan.parameters, 5, (honest_pictures() + 10) / CAP)
    cheated(told, CHEAT, adding(update, int(times * radius / math.sqrt(told.plan.parameters))))
    honest = np.sum([sent.plain for sent in told.reports], axis=0)[update]
    moved = float(np.linalg.norm(told.unmasked(told.masked_sum())[update] - honest))
    reason, totals = ended(told)
    if times < 1:
        assert (reason, totals is not None) == ("ok", True)
        assert moved <= 2 * radius
    else:
        assert reason in (LONG, "update-out-of-range")
        assert totals is None


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("n_max", [128, 1000])
def test_a_garbage_mask_passes_the_range_check_as_rarely_as_stated(dimensions: int, n_max: int) -> None:
    """Where it can be counted: each coordinate is in range with probability (2·N_max·Q + 1)/2³² ≤ 1/4, so 4⁻ᵈ of d.

    The norm is checked too, and makes it rarer still: a ball in that cube.
    """
    steps, trials = quantisation_steps(n_max), 40_000
    layout = (Segment("update", dimensions, 32, steps, 1, -steps, steps, "stochastic"),)
    draws = Keystream(secret(f"garbage {n_max}")).uint32(dimensions * trials).reshape(trials, dimensions)
    reasons = [check_sum(layout, centre(layout, one), n_max) for one in draws]
    in_range = sum(reason != "update-out-of-range" for reason in reasons)
    stated = ((2 * n_max * steps + 1) / 2**32) ** dimensions
    assert stated <= 4.0**-dimensions
    assert abs(in_range - trials * stated) < 5 * math.sqrt(trials * stated * (1 - stated))
    radius = norm_of_sum(steps, dimensions, n_max, n_max)
    ball = math.pi ** (dimensions / 2) / math.gamma(dimensions / 2 + 1) * (radius / 2**32) ** dimensions
    ball = min(ball, stated)
    passed = reasons.count(None)
    assert abs(passed - trials * ball) < 5 * math.sqrt(trials * ball)
    assert passed < trials * 4.0**-dimensions + 5 * math.sqrt(trials * 4.0**-dimensions)


# ---- classes, counts, and what else is summed


@pytest.mark.parametrize("kind", ["supporters", "within_clip", "counts", "loss"])
@pytest.mark.parametrize("beyond", [0, 1])
def test_counts_that_one_member_makes_up_reach_as_far_as_all_members_could(kind: str, beyond: int) -> None:
    """[|S|·lo, |S|·hi] and not a step more. Within it nothing is seen: a device proves nothing about its counts."""
    told = started()
    segment = next(segment for segment in told.proposal.layout if segment.kind == kind)
    place = slice(place_of(told, kind).start, place_of(told, kind).start + 1)
    honest = sum(int(told.commit(owner).plain[place][0]) for owner in WORLD.owners)
    cheated(told, CHEAT, adding(place, 5 * segment.hi - honest + beyond))
    assert ended(told)[0] == (f"{kind}-out-of-range" if beyond else "ok")


def test_one_member_can_lift_the_protection_of_a_class_that_one_home_has() -> None:
    """An honest main holds back classes with too few supporters; it has to believe how many there are."""
    told = started(k_min=5)
    place = place_of(told, "supporters").start + 1
    plan = told.plan
    alone = {owner.id: np.array([True, owner is HONEST[0]]) for owner in WORLD.owners}
    for owner in [*HONEST, CHEAT]:
        said = dataclasses.replace(contribution_of(plan, WORLD.owners.index(owner)), supporters=alone[owner.id])
        sent = told.commit(owner, said)
        if owner is CHEAT:
            rewritten(told, sent, adding(slice(place, place + 1), 4))
        told.send(sent)
    told.agree()
    _, totals = ended(told)
    assert totals is not None
    assert totals.supporters is not None
    assert totals.supporters.tolist() == [5, 5], "one home, and a cheat that says four"
    assert told.m.at is main_round.State.RELEASED
