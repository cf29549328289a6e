"""Rounds of statistics: their layout, the exact sum through both servers' masks, and what sums may be."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment, check_layout, layout_length, layout_words, slices
from fanlight.errors import MalformedMessage, ModelError, NotPossibleNow, Refused
from fanlight.protocol import main_round
from fanlight.protocol.contribution import W_MAX, Contribution, check_sum, encode, expected_layout, is_expected
from fanlight.protocol.device import check_floors
from fanlight.protocol.plan import Plan
from fanlight.protocol.statistics import MOST_PICTURES_OF_ALL, STEPS, Sums, why_impossible
from tests.protocol_world import Round, World, contribution_of, floors, plan_of, secret

WORLD = World(3, "statistics")
F, K = 3, 2
HEADS = ("analytic", "prototypes")


def plan(head: str = "analytic", kind: str = "statistics", **changes: Any) -> Plan:
    return plan_of(head=head, kind=kind, **changes)


def sums_of(number: int, head: str = "analytic", count: int = 5) -> Sums:
    """Sums over ``count`` training pictures, and as many of validation, of device ``number``."""
    draw = np.random.default_rng(number)
    parts = []
    for _ in range(2 if head == "analytic" else 1):
        phi = draw.normal(size=(count, F))
        phi /= np.linalg.norm(phi, axis=1, keepdims=True)
        y = draw.integers(0, K, count)
        gram = (phi.T @ phi)[np.triu_indices(F)] if head == "analytic" else np.zeros(0)
        parts.append((gram, phi.T @ np.eye(K)[y], np.bincount(y, minlength=K)))
    return Sums.rounded(*parts)


def said_by(number: int, head: str = "analytic") -> Contribution:
    return dataclasses.replace(contribution_of(plan(), number), update=None, sums=sums_of(number, head))


def layout_of(head: str = "analytic", kind: str = "statistics", n_max: int = 1000, **more: Any) -> tuple[Segment, ...]:
    return expected_layout(plan(head, kind), n_max, 1, with_counts=True, **more)


def replaced(layout: tuple[Segment, ...], kind: str, **changes: Any) -> tuple[Segment, ...]:
    return tuple(dataclasses.replace(part, **changes) if part.kind == kind else part for part in layout)


# ---- plans and layouts


def test_only_heads_that_are_solved_have_such_rounds() -> None:
    for kind in ("statistics", "changes"):
        with pytest.raises(MalformedMessage, match="not solved"):
            Plan.decode(plan_of(kind="train").with_(kind=kind).encode())


@pytest.mark.parametrize("kind", ["statistics", "changes"])
def test_the_layout_is_in_words_of_64_bits(kind: str) -> None:
    analytic, prototypes = (layout_of(head, kind) for head in HEADS)
    members = ["members"] if kind == "changes" else []
    kinds = ["statistics", "class_sums", "examples", "counts", "loss", "supporters"]
    assert [part.kind for part in analytic] == kinds + members
    assert [part.length for part in analytic] == [2 * 6, 2 * F * K, 2 * K, 8, 2, K] + [1] * len(members)
    assert [part.length for part in prototypes] == [F * K, K, 8, 2, K] + [1] * len(members)
    assert {part.bits for part in analytic} == {64}
    assert layout_words(analytic) == 2 * layout_length(analytic)
    lowest = {part.kind: part.lo for part in analytic}
    assert (lowest["examples"], lowest["supporters"]) == ((0, 0) if kind == "statistics" else (-W_MAX, -1))


@pytest.mark.parametrize("n_max", [2, 1000, 53_687, 53_688, 1 << 20])
def test_so_many_pictures_count_that_a_factor_of_four_is_left(n_max: int) -> None:
    layout = layout_of(n_max=n_max)
    check_layout(layout, n_max)
    assert is_expected(layout, plan(), n_max)
    most = layout[2].hi
    assert n_max * most <= MOST_PICTURES_OF_ALL
    assert most == W_MAX or n_max * (most + 1) > MOST_PICTURES_OF_ALL
    assert layout[0].hi == -layout[0].lo == most * STEPS
    assert 4 * n_max * layout[0].hi <= 2**63


def test_a_default_backbone_sends_13_megabytes_and_prototypes_a_tenth_of_one() -> None:
    wide: dict[str, Any] = {"features": 1280, "classes": tuple("abcdefghij")}
    sizes = [4 * layout_words(expected_layout(plan(head, **wide), 1000, 1, with_counts=True)) for head in HEADS]
    assert sizes[0] == pytest.approx(13.3e6, rel=0.01)
    assert sizes[1] == pytest.approx(0.104e6, rel=0.02)


LAYOUT = layout_of()


@pytest.mark.parametrize(
    "layout",
    [
        replaced(LAYOUT, "statistics", hi=W_MAX * STEPS + 1),
        replaced(LAYOUT, "statistics", scale_numerator=2**33),
        replaced(LAYOUT, "statistics", rounding="stochastic"),
        replaced(LAYOUT, "examples", hi=W_MAX - 1),
        replaced(LAYOUT, "examples", lo=-1),
        replaced(LAYOUT, "supporters", lo=-1),
        layout_of("prototypes"),
        layout_of(kind="changes"),
        LAYOUT[1:],
    ],
)
def test_a_device_refuses_a_layout_that_it_would_not_have_made(layout: tuple[Segment, ...]) -> None:
    assert not is_expected(layout, plan(), 1000)
    told = Round(WORLD, plan(), layout=layout).open()
    with pytest.raises(Refused) as caught:
        told.commit(WORLD.owners[0], said_by(0))
    assert caught.value.slug in ("bad-layout", "head-refused")


# ---- floors


def test_the_floor_for_sums_of_squares_is_twice_the_owners() -> None:
    for head, kind, least in (
        ("analytic", "statistics", 10),
        ("analytic", "train", 5),
        ("prototypes", "statistics", 5),
    ):
        asked = plan(head, kind)
        for k_min in (least - 1, least):
            proposal = WORLD.proposal(asked, demo=False, k_min=k_min)
            manifest = WORLD.sign_manifest(proposal).terms
            if k_min == least:
                check_floors(manifest, asked, floors())
                continue
            with pytest.raises(Refused, match=f"floor .*is {least}") as caught:
                check_floors(manifest, asked, floors())
            assert caught.value.slug == "below-floor"


# ---- the sum


@pytest.mark.parametrize("head", HEADS)
def test_main_learns_the_exact_sum(head: str) -> None:
    told = Round(WORLD, plan(head)).open()
    for number, owner in enumerate(WORLD.owners):
        sent = told.commit(owner, said_by(number, head))
        told.send(sent)
        told.beacon(sent)
    step = told.agree().take_release(*told.release())
    assert told.m.at is main_round.State.RELEASED
    assert step.totals is not None
    found = step.totals.sums
    assert found is not None
    expected = sums_of(0, head) + sums_of(1, head) + sums_of(2, head)
    assert (found - expected).is_empty
    assert step.totals.supporters is not None
    assert step.totals.supporters.tolist() == [3, 2]
    assert step.totals.received is not None
    assert step.totals.received.confusion.tolist() == [[12, 0], [0, 12]]
    told.finish(step.reply)
    assert [told.end(sent).was_included for sent in told.reports] == [True] * 3


def test_what_is_sent_looks_uniform_and_no_mask_is_left_in_the_sum() -> None:
    told = Round(WORLD, plan(features=200)).open()
    zero = Sums(*(np.zeros(part.length, np.int64) for part in told.proposal.layout[:3]))
    empty = dataclasses.replace(said_by(0), sums=zero)
    sent = told.commit(WORLD.owners[0], empty)
    bits = np.unpackbits(sent.y.view(np.uint8)).mean()
    assert abs(bits - 0.5) < 0.01
    assert np.unique(sent.y).size > 0.99 * sent.y.size


def test_nobody_without_pictures_is_in_a_sum_of_statistics() -> None:
    told = Round(WORLD, plan()).open()
    with pytest.raises(NotPossibleNow, match="no training pictures"):
        told.commit(WORLD.owners[0], dataclasses.replace(said_by(0), examples=0))


def test_more_pictures_than_may_count_are_refused_and_not_cut_off() -> None:
    layout = layout_of(most_pictures=4)
    with pytest.raises(ModelError, match="more pictures"):
        encode(layout, said_by(0), Keystream(secret("rounding")))
    missing = dataclasses.replace(said_by(0), sums=None)
    with pytest.raises(Refused):
        encode(layout, missing, Keystream(secret("rounding")))


# ---- changes


def test_differences_are_summed_and_take_a_leaver_out_again() -> None:
    before = sums_of(0) + sums_of(1)
    earlier = Round(WORLD, plan()).open()
    earlier.abandon()
    told = Round(WORLD, plan(kind="changes"), previous=earlier, round=2, collection=1).open()
    zero = sums_of(0) - sums_of(0)
    changes = ((zero - sums_of(0), -1), (sums_of(2) - sums_of(1), 0), (sums_of(3), 1))
    for owner, (change, members) in zip(WORLD.owners, changes, strict=True):
        said = dataclasses.replace(said_by(0), sums=change, examples=0, supporters=np.array([-1, 1]), members=members)
        sent = told.commit(owner, said)
        told.send(sent)
        told.beacon(sent)
    step = told.agree().take_release(*told.release())
    assert step.totals is not None
    assert step.totals.sums is not None
    assert step.totals.supporters is not None
    assert step.totals.supporters.tolist() == [-3, 3]
    assert step.totals.members == 0
    assert ((before + step.totals.sums) - (sums_of(2) + sums_of(3))).is_empty
    assert why_impossible(before + step.totals.sums, 5) is None


# ---- what sums may be


def centred(layout: tuple[Segment, ...], *said: Contribution) -> NDArray[np.int64]:
    total = ring.zeros(layout_length(layout), 64)
    for one in said:
        ring.add_into(total, encode(layout, one, Keystream(secret("x"))))
    return ring.centre(total)


@pytest.mark.parametrize("head", HEADS)
def test_honest_sums_pass_and_are_read_as_numbers(head: str) -> None:
    layout = layout_of(head)
    total = centred(layout, *(said_by(number, head) for number in range(4)))
    assert check_sum(layout, total, 4) is None
    parts = sums_of(0, head).parts
    assert len(parts) == (2 if head == "analytic" else 1)
    for gram, class_sums, examples in parts:
        assert class_sums.shape == (F, K)
        assert examples.sum() == 5
        assert gram.size == 0 or gram[[0, 3, 5]].sum() == pytest.approx(5)


@pytest.mark.parametrize(
    ("kind", "at", "change", "reason"),
    [
        ("examples", 0, -6, "examples-out-of-range"),
        ("examples", 2, 3 * W_MAX, "examples-out-of-range"),
        ("statistics", 0, 6 * STEPS, "statistics-impossible"),  # more length than pictures
        ("statistics", 0, -6 * STEPS, "statistics-impossible"),  # a square that is negative
        ("statistics", 1, 6 * STEPS, "statistics-impossible"),  # a product larger than its squares
        ("statistics", 7, -6 * STEPS, "statistics-impossible"),
        ("class_sums", 3, 11 * STEPS, "class-sums-too-large"),
        ("class_sums", F * K, -11 * STEPS, "class-sums-too-large"),
        ("statistics", 0, 2**62, "statistics-out-of-range"),
    ],
)
def test_what_no_pictures_can_sum_to_is_not_used(kind: str, at: int, change: int, reason: str) -> None:
    total = centred(LAYOUT, said_by(0))
    place = slices(LAYOUT)[kind]
    total[place.start + at] += change
    assert check_sum(LAYOUT, total, 1) == reason


def test_a_sum_of_no_pictures_is_not_used() -> None:
    zero = np.zeros(layout_length(LAYOUT), np.int64)
    assert check_sum(LAYOUT, zero, 2) == "no-pictures"
    negative = dataclasses.replace(sums_of(0), examples=np.array([3, 3, -1, 1]))
    assert why_impossible(negative, 1) == "examples-negative"


@pytest.mark.parametrize("seed", range(20))
def test_garbage_does_not_pass(seed: int) -> None:
    """A mask that was not taken off, in the statistics alone or everywhere."""
    layout = expected_layout(plan(features=20), 1000, 1, with_counts=True)
    stream = Keystream(secret(str(seed)))
    words = np.frombuffer(stream.bytes(8 * layout_length(layout)), np.int64).copy()
    assert check_sum(layout, words, 3) is not None


def test_a_picture_without_any_feature_does_no_harm() -> None:
    said = (np.zeros(6), np.zeros((F, K)), np.array([1, 0]))
    assert why_impossible(Sums.rounded(said, said), 1) is None


def test_sums_of_different_tasks_are_not_added() -> None:
    with pytest.raises(ModelError, match="different tasks"):
        _ = sums_of(0) + sums_of(0, "prototypes")
    with pytest.raises(ModelError):
        Sums.rounded((np.array([np.nan]), np.zeros((1, 2)), np.zeros(2, np.int64)))
