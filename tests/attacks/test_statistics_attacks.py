"""Attacks on rounds of statistics: a device says more than its pictures can sum to, or is alone with a class."""

from __future__ import annotations

import functools
import operator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment
from fanlight.errors import ModelError
from fanlight.learning import analytic
from fanlight.learning.heads import HeadKind, as_read
from fanlight.learning.held_back import HeldBack
from fanlight.protocol import main_round
from fanlight.protocol.closing import SUM_NOT_USABLE, Outcome
from fanlight.protocol.contribution import Contribution, check_sum, encode, expected_layout
from fanlight.protocol.plan import Plan
from fanlight.protocol.signing import Signed
from fanlight.protocol.statistics import STEPS, Sums, why_impossible
from fanlight.services.main_server import solving
from tests.protocol_world import Round, World, contribution_of, plan_of, secret

WORLD = World(4, "statistics attacks")
FEATURES, CLASSES, PICTURES = 3, 2, 5
SQUARES = np.array([0, 3, 5])
"""Where the diagonal of ΣΦᵀΦ is in its triangle."""


def plan() -> Plan:
    return plan_of(head="analytic", kind="statistics")


def honest(number: int) -> Sums:
    draw = np.random.default_rng(number)
    parts = []
    for _ in range(2):
        phi = draw.normal(size=(PICTURES, FEATURES))
        phi /= np.linalg.norm(phi, axis=1, keepdims=True)
        y = draw.integers(0, CLASSES, PICTURES)
        gram = (phi.T @ phi)[np.triu_indices(FEATURES)]
        parts.append((gram, phi.T @ np.eye(CLASSES)[y], np.bincount(y, minlength=CLASSES)))
    return Sums.rounded(*parts)


def said(sums: Sums) -> Contribution:
    return replace(contribution_of(plan(), 0), update=None, sums=sums)


def changed(sums: Sums, part: str, at: int | np.ndarray, by: int) -> Sums:
    numbers = getattr(sums, part).copy()
    numbers[at] += by
    return replace(sums, **{part: numbers})


def layout() -> tuple[Segment, ...]:
    return expected_layout(plan(), 1000, 1, with_counts=True)


@pytest.mark.parametrize(
    ("part", "at", "by", "reason"),
    [
        (
            "gram",
            SQUARES,
            100 * STEPS,
            "statistics-impossible",
        ),  # features of length 10: they would outshout all others
        ("gram", 1, 30 * STEPS, "statistics-impossible"),  # a product above the squares it is made of
        ("gram", 0, -50 * STEPS, "statistics-impossible"),
        ("class_sums", 0, 1000 * STEPS, "class-sums-too-large"),  # a class pushed where nobody's pictures are
        ("class_sums", 1, -1000 * STEPS, "class-sums-too-large"),
    ],
)
def test_a_cheat_that_says_more_than_pictures_can_sum_to_spoils_the_round_and_no_model(
    part: str, at: int | np.ndarray, by: int, reason: str
) -> None:
    """Its numbers lie in the range of a device with many pictures; the sum of four shows that they are none."""
    told = Round(WORLD, plan()).open()
    for number, owner in enumerate(WORLD.owners):
        sums = honest(number)
        sent = told.commit(owner, said(changed(sums, part, at, by) if number == 0 else sums))
        told.send(sent)
        told.beacon(sent)
    told.agree()
    assert check_sum(told.proposal.layout, told.unmasked(told.masked_sum()), len(WORLD.owners)) == reason
    step = told.take_release(*told.release())
    assert told.m.at is main_round.State.FAILED
    assert Outcome.decode(Signed.decode(step.reply).payload).reason == SUM_NOT_USABLE
    assert step.totals is None


def test_an_honest_device_never_sends_what_is_above_the_cap() -> None:
    most = expected_layout(plan(), 1000, 1, with_counts=True, most_pictures=PICTURES)
    with pytest.raises(ModelError, match="more pictures"):
        encode(most, said(changed(honest(0), "gram", SQUARES, PICTURES * STEPS)), Keystream(secret("rounding")))


# ---- more than pictures, in numbers of which each alone is possible

KINDS, HOMES, EACH, WIDE = 4, 10, 40, 256
"""Classes, devices, training pictures of each, as many of validation, and features: √f is 16."""
MANY = World(HOMES, "ten homes")
HEADS = ["analytic", "prototypes"]
Reals = NDArray[np.float64]


def wide(head: str) -> Plan:
    return plan_of(head=head, kind="statistics", features=WIDE, classes=("a", "b", "c", "d"))


def pictures(number: int, count: int = EACH) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of home ``number``, as many of each class: no feature is below zero, and classes are easily told apart."""
    kinds = np.abs(np.random.default_rng(0).normal(size=(KINDS, WIDE)))
    draw, y = np.random.default_rng([1, number]), np.arange(count) % KINDS
    return (kinds[y] + 0.5 * np.abs(draw.normal(size=(count, WIDE)))).astype(np.float32), y


def home(head: str, number: int) -> Sums:
    parts = [analytic.collect(*pictures(number), KINDS)] * (2 if head == "analytic" else 1)
    return Sums.rounded(
        *((part.gram if head == "analytic" else part.gram[:0], part.sums, part.examples) for part in parts)
    )


def homes(head: str) -> Sums:
    """The sum of all but the cheat, which is the first one."""
    return functools.reduce(operator.add, (home(head, number) for number in range(1, HOMES)))


def with_class_sums(sums: Sums, class_sums: Reals, *, no_gram: bool = False) -> Sums:
    """These (f, K) in each part, and a Gram matrix of zeros if it is so asked."""
    steps = np.tile(np.rint(class_sums.ravel() * STEPS).astype(np.int64), sums.class_sums.size // class_sums.size)
    return Sums(sums.gram * (not no_gram), steps, sums.examples)


def accuracy(head: str, sums: Sums) -> float:
    """Of what main makes of these sums, on pictures that nobody has."""
    x, y = pictures(HOMES, 100)
    found, _ = solving.solve(wide(head), sums, HeldBack(np.zeros(KINDS, np.bool_)))
    return float((found.logits(as_read(HeadKind(head), x)).argmax(axis=1) == y).mean())


def with_cheat(head: str, cheat: Sums) -> Round:
    """A whole round of ten homes of which the first one says this."""
    told = Round(MANY, wide(head)).open()
    for number, owner in enumerate(MANY.owners):
        said_by = cheat if number == 0 else home(head, number)
        told.send(told.commit(owner, replace(contribution_of(wide(head), 0), update=None, sums=said_by)))
    return told.agree()


@pytest.mark.parametrize("head", HEADS)
def test_a_cheat_whose_every_number_is_possible_cannot_outshout_all_homes(head: str) -> None:
    """A vector of length √f·n has no coordinate above n. With those of forty pictures it would make the head worthless.

    That each coordinate is possible by itself was once all that main asked, and that ΣΦᵀΦ is, as one of zeros.
    """
    honest, own = homes(head), home(head, 0)
    n = int(own.examples[0])
    means = honest.parts[0][1]
    away = np.sign(np.roll(means, 1, axis=1) - means)
    cheat = with_class_sums(own, n * away, no_gram=True)
    total = honest + cheat
    examples = np.tile(total.examples[:KINDS], total.class_sums.size // KINDS)
    assert (np.abs(total.class_sums) <= examples * STEPS).all()
    assert accuracy(head, honest + own) == 1
    assert accuracy(head, honest + with_class_sums(own, n * away)) < 0.7
    told = with_cheat(head, cheat)
    assert check_sum(told.proposal.layout, told.unmasked(told.masked_sum()), HOMES) == "class-sums-too-large"
    told.take_release(*told.release())
    assert told.m.at is main_round.State.FAILED


def test_a_cheat_cannot_push_a_class_where_its_squares_say_that_no_pictures_are() -> None:
    """Each class's sum is as long as so many pictures' may be, but ΣΦᵀΦ has nothing in that direction."""
    honest, own = homes("analytic"), home("analytic", 0)
    _, sums, _ = own.parts[0]
    across = np.random.default_rng(3).normal(size=(WIDE, KINDS))
    directions = np.linalg.qr(np.hstack([honest.parts[0][1], sums, across]))[0][:, -KINDS:]
    pushed = [honest + with_class_sums(own, sums + length * directions) for length in (0, 10)]
    assert (np.linalg.norm(pushed[1].parts[0][1], axis=0) < pushed[1].parts[0][2]).all()
    assert [why_impossible(each, HOMES) for each in pushed] == [None, "statistics-impossible"]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("seed", range(4))
def test_the_longest_that_passes_moves_a_classs_mean_by_no_more_than_its_ball(head: str, seed: int) -> None:
    """Whatever the direction: by 1 + ‖mean‖, at most 2; not by √f times the cheat's share."""
    honest, own = homes(head), home(head, 0)
    total = honest + own
    direction = np.random.default_rng([4, seed]).normal(size=(WIDE, KINDS)) if seed else -total.parts[0][1]
    direction /= np.linalg.norm(direction, axis=0)
    low, high = 0.0, 4.0 * HOMES * EACH
    while high - low > 1e-3:
        middle = (low + high) / 2
        passes = why_impossible(honest + with_class_sums(own, middle * direction), HOMES) is None
        low, high = (middle, high) if passes else (low, middle)
    passed = honest + with_class_sums(own, low * direction)
    before, after = (sums.parts[0][1] / sums.parts[0][2] for sums in (total, passed))
    means, moved = (np.linalg.norm(one, axis=0) for one in (before, after - before))
    assert (np.linalg.norm(after, axis=0) <= 1 + 2**-15).all()
    assert (moved <= 1 + means + 2**-15).all()
    if seed == 0 and head == "prototypes":  # the bound is reached
        assert moved.max() > 0.99 * (1 + means.max())


@pytest.mark.parametrize("head", HEADS)
def test_a_cheat_that_knows_what_the_others_sum_to_puts_the_head_where_pictures_could_have_it(head: str) -> None:
    """Left, and this attack *succeeds*: the sum is bound, not the cheat. With its forty pictures it swaps all classes.

    It knows the sums of a former round, say, from the head that was published: what it sends takes them out again.
    """
    honest, own = homes(head), home(head, 0)
    _, others, _ = honest.parts[0]
    wanted = np.roll(honest.parts[0][1] + own.parts[0][1], 1, axis=1)
    told = with_cheat(head, with_class_sums(own, wanted - others))
    totals = told.take_release(*told.release()).totals
    assert told.m.at is main_round.State.RELEASED
    assert totals is not None
    assert totals.sums is not None
    assert accuracy(head, totals.sums) == 0
    assert totals.sums.pictures == (honest + own).pictures


@pytest.mark.parametrize("head", HEADS)
def test_the_row_of_a_class_that_one_home_alone_has_is_not_in_the_model(head: str) -> None:
    """It would be that home's contribution. Of a ridge its row is what the other one lacks to a sum that all pictures
    make alike, so that of two classes nothing is left; a prototype follows from no other.
    """
    sums = honest(0) + honest(1)
    if head == "prototypes":
        sums = Sums(sums.gram[:0], sums.class_sums[: FEATURES * CLASSES], sums.examples[:CLASSES])
    asked = plan_of(head=head, kind="statistics")
    found, _ = solving.solve(asked, sums, HeldBack(np.array([False, True])))
    free, _ = solving.solve(asked, sums, HeldBack(np.array([False, False])))
    assert free.weight[:, 1].any()
    assert not found.weight[:, 1].any()
    assert np.array_equal(found.weight[:, 0], free.weight[:, 0] * (head == "prototypes"))
