"""Attacks on rounds of statistics: a device says more than its pictures can sum to, or is alone with a class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment
from fanlight.errors import ModelError
from fanlight.protocol import main_round
from fanlight.protocol.closing import SUM_NOT_USABLE, Outcome
from fanlight.protocol.contribution import Contribution, check_sum, encode, expected_layout
from fanlight.protocol.plan import Plan
from fanlight.protocol.signing import Signed
from fanlight.protocol.statistics import STEPS, Sums
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


def test_a_cheat_within_the_cap_moves_the_sum_by_no_more_than_its_pictures_could() -> None:
    """What passes is what an honest device with as many pictures could have said: here, that all show one thing."""
    count = 50
    crafted = Sums.rounded(
        *(((np.array([count, 0, 0, 0, 0, 0.0])), np.array([[count, 0], [0, 0], [0, 0.0]]), np.array([count, 0])),) * 2
    )
    told = Round(WORLD, plan()).open()
    for number, owner in enumerate(WORLD.owners):
        sent = told.commit(owner, said(crafted if number == 0 else honest(number)))
        told.send(sent)
        told.beacon(sent)
    step = told.agree().take_release(*told.release())
    assert told.m.at is main_round.State.RELEASED
    assert step.totals is not None
    assert step.totals.sums is not None
    assert step.totals.sums.pictures == 2 * (count + 3 * PICTURES)


@pytest.mark.parametrize("head", ["analytic", "prototypes"])
def test_the_row_of_a_class_that_one_home_alone_has_is_not_in_the_model(head: str) -> None:
    """It would be that home's contribution; and whatever it has is then not in the other rows' targets either."""
    sums = honest(0) + honest(1)
    if head == "prototypes":
        sums = Sums(sums.gram[:0], sums.class_sums[: FEATURES * CLASSES], sums.examples[:CLASSES])
    asked = plan_of(head=head, kind="statistics")
    found, _ = solving.solve(asked, sums, np.array([False, True]))
    free, _ = solving.solve(asked, sums, np.array([False, False]))
    assert free.weight[:, 1].any()
    assert not found.weight[:, 1].any()
    assert np.array_equal(found.weight[:, 0], free.weight[:, 0])
