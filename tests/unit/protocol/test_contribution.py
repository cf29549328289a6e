"""The vector against plain arithmetic: layouts, encoding, the proved error of the mean, and what sums may be."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment, check_layout, layout_length, quantisation_steps, slices
from fanlight.errors import ModelError, Refused
from fanlight.protocol.contribution import (
    COUNT_MAX,
    LOSS_MAX,
    LOSS_SCALE,
    W_MAX,
    Contribution,
    Measured,
    check_sum,
    clip_of,
    encode,
    expected_layout,
    read_totals,
)
from tests.protocol_world import contribution_of, plan_of, secret

PLAN = plan_of()
CLIP_MICRO = 2_500_000
N_MAX = 100
LAYOUT = expected_layout(PLAN, N_MAX, CLIP_MICRO, with_counts=True)
PLACES = slices(LAYOUT)
STEPS = quantisation_steps(N_MAX)


def stream(name: str = "rounding") -> Keystream:
    return Keystream(secret(name))


def said(**changes: Any) -> Contribution:
    return dataclasses.replace(contribution_of(PLAN, 0), **changes)


def encoded(contribution: Contribution, layout: tuple[Segment, ...] = LAYOUT) -> NDArray[np.int64]:
    return ring.centre(encode(layout, contribution, stream()))


def part(kind: str, **changes: Any) -> list[int]:
    numbers: list[int] = encoded(said(**changes))[PLACES[kind]].tolist()
    return numbers


def test_the_segments_stand_in_the_documented_order() -> None:
    assert [segment.kind for segment in LAYOUT] == ["weight", "update", "counts", "loss", "supporters", "within_clip"]
    assert [segment.length for segment in LAYOUT] == [1, 8, 8, 2, 2, 1]
    without = expected_layout(PLAN, N_MAX, CLIP_MICRO, with_counts=False)
    assert without == tuple(segment for segment in LAYOUT if segment.kind not in ("counts", "loss"))
    measuring = expected_layout(plan_of(kind="measure"), N_MAX, CLIP_MICRO, with_counts=False)
    assert measuring == tuple(segment for segment in LAYOUT if segment.kind in ("counts", "loss"))


@pytest.mark.parametrize("n_max", [2, 3, 127, 128, 129, 1000, 2147, 2148, 10_000, 200_000])
@pytest.mark.parametrize("clip_micro", [1, 333_333, 10_000_000])
def test_every_layout_can_be_summed_and_its_clip_be_read(n_max: int, clip_micro: int) -> None:
    layout = expected_layout(PLAN, n_max, clip_micro, with_counts=True)
    check_layout(layout, n_max)
    assert clip_of(layout) == clip_micro
    update = layout[1]
    assert update.hi == -update.lo == quantisation_steps(n_max) >= 256
    assert update.scale == Fraction(update.hi * 1_000_000, clip_micro)


def test_a_layout_without_update_has_no_clip() -> None:
    assert clip_of(expected_layout(plan_of(kind="measure"), N_MAX, 1, with_counts=True)) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"scale_numerator": 0},
        {"scale_numerator": -1},
        {"hi": 0},
        {"hi": -1},
        {"scale_numerator": 7, "scale_denominator": 3},
    ],
)
def test_a_scale_that_is_no_clip_in_millionths_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        clip_of((dataclasses.replace(LAYOUT[1], **changes),))
    assert caught.value.slug == "bad-layout"


def test_small_parts_are_exact() -> None:
    received = Measured(np.array([[1, 2], [3, 4]]), 1.234)
    local = Measured(np.array([[5, 6], [7, 8]]), 0.006)
    vector = encoded(said(examples=77, received=received, local=local, supporters=np.array([True, False])))
    assert vector[PLACES["weight"]].tolist() == [77]
    assert vector[PLACES["counts"]].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert vector[PLACES["loss"]].tolist() == [123, 1]
    assert vector[PLACES["supporters"]].tolist() == [1, 0]
    assert vector[PLACES["within_clip"]].tolist() == [1]


def test_everything_is_clamped_to_its_bounds() -> None:
    huge = Measured(np.full((2, 2), COUNT_MAX + 5), LOSS_MAX * 2.0)
    infinite = Measured(np.full((2, 2), 1 << 40), math.inf)
    vector = encoded(said(examples=W_MAX + 1, received=huge, local=infinite))
    assert vector[PLACES["weight"]].tolist() == [W_MAX]
    assert set(vector[PLACES["counts"]].tolist()) == {COUNT_MAX}
    assert set(vector[PLACES["loss"]].tolist()) == {LOSS_SCALE * LOSS_MAX}


@pytest.mark.parametrize("norm", [0.1, 2.5, 2.6, 1000.0])
def test_an_update_is_clipped_weighted_and_within_one_step(norm: float) -> None:
    direction = np.linspace(-1, 1, 8)
    update = direction / np.linalg.norm(direction) * norm
    clip = CLIP_MICRO / 1e6
    expected = update * min(1, clip / norm) * (40 / W_MAX) * (STEPS / clip)
    vector = encoded(said(examples=40, update=update))
    assert np.abs(vector[PLACES["update"]] - expected).max() < 1
    assert vector[PLACES["within_clip"]].tolist() == [int(np.linalg.norm(update) <= clip)]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e200])
def test_what_is_not_finite_never_enters(wrong: float) -> None:
    update = np.zeros(8)
    update[3] = wrong
    with pytest.raises(ModelError):
        encoded(said(update=update))


def test_a_loss_that_is_no_number_never_enters() -> None:
    with pytest.raises(ModelError):
        encoded(said(local=Measured(np.eye(2, dtype=np.int64), math.nan)))


@pytest.mark.parametrize(
    "changes",
    [
        {"update": np.zeros(7)},
        {"update": np.zeros(1)},
        {"supporters": np.array([True])},
        {"supporters": np.array([True] * 3)},
        {"received": Measured(np.zeros((3, 3), np.int64), 0.0)},
        {"received": Measured(np.zeros((1, 1), np.int64), 0.0), "local": Measured(np.zeros((0, 0), np.int64), 0.0)},
    ],
)
def test_a_part_of_another_length_is_not_spread_over_its_segment(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="numbers"):
        encoded(said(**changes))


@pytest.mark.parametrize("changes", [{"update": None}, {"received": None}, {"local": None}])
def test_a_part_that_is_missing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        encoded(said(**changes))


def test_an_unknown_segment_is_refused() -> None:
    with pytest.raises(Refused):
        encoded(said(), (Segment("secrets", 1, 32, 1, 1, 0, 1, "exact"),))


def test_the_rounding_needs_the_devices_own_randomness() -> None:
    one, two = (encode(LAYOUT, said(examples=33), stream(name)) for name in ("one", "two"))
    assert (one != two).any()
    assert (one == encode(LAYOUT, said(examples=33), stream("one"))).all()


def sums_of(contributions: list[Contribution], layout: tuple[Segment, ...] = LAYOUT) -> NDArray[np.int64]:
    vectors = [ring.centre(encode(layout, one, stream(str(i)))) for i, one in enumerate(contributions)]
    total: NDArray[np.int64] = np.sum(vectors, axis=0)
    return total


@pytest.mark.parametrize("count", [2, 3, 20, 100])
def test_totals_are_those_of_plain_arithmetic(count: int) -> None:
    rows = np.array([np.roll(np.linspace(-1.5, 1.0, 8), i) for i in range(count)])
    contributions = [dataclasses.replace(contribution_of(PLAN, i), update=rows[i]) for i in range(count)]
    total = sums_of(contributions)
    assert check_sum(LAYOUT, total, count) is None
    totals = read_totals(LAYOUT, total, count)

    weights = np.array([one.examples for one in contributions])
    clip = CLIP_MICRO / 1e6
    clipped = rows * np.minimum(1, clip / np.linalg.norm(rows, axis=1))[:, np.newaxis]
    mean = (weights[:, np.newaxis] * clipped).sum(axis=0) / weights.sum()
    assert totals.mean is not None
    # One device's rounding moves a coordinate by less than one step, and a step of the mean is W_max·C/(Q·Σn).
    error = np.abs(totals.mean - mean)
    assert error.max() < count * W_MAX * clip / (STEPS * weights.sum())
    # The root mean square is at most half a step times √N; over 8 coordinates we leave a factor of two.
    assert np.sqrt((error**2).mean()) < 2 * W_MAX * math.sqrt(count) * clip / (2 * STEPS * weights.sum())

    assert totals.count == count
    assert totals.weight == weights.sum()
    assert totals.received is not None
    assert totals.local is not None
    assert totals.supporters is not None
    assert totals.received.confusion.tolist() == (np.eye(2, dtype=int) * sum(i + 3 for i in range(count))).tolist()
    assert totals.received.loss_sum == pytest.approx(1.5 * count)
    assert totals.local.confusion.tolist() == np.full((2, 2), sum(range(count))).tolist()
    assert totals.local.loss_sum == pytest.approx(0.25 * count)
    assert totals.supporters.tolist() == [count, count - 1]
    assert totals.within_clip == int((np.linalg.norm(rows, axis=1) <= clip).sum())


def test_rounding_is_right_on_average() -> None:
    update = np.full(8, 0.37)
    vectors = [ring.centre(encode(LAYOUT, said(update=update), stream(f"draw-{i}"))) for i in range(400)]
    mean = np.mean([vector[PLACES["update"]] for vector in vectors])
    exact = 0.37 * (10 / W_MAX) * STEPS / (CLIP_MICRO / 1e6)
    # 3,200 draws with variance at most 1/4: four standard deviations.
    assert abs(mean - exact) < 4 * 0.5 / math.sqrt(3200)


def test_totals_of_a_measuring_round_have_counts_alone() -> None:
    plan = plan_of(kind="measure")
    layout = expected_layout(plan, N_MAX, CLIP_MICRO, with_counts=True)
    totals = read_totals(layout, sums_of([contribution_of(plan, i) for i in range(3)], layout), 3)
    assert (totals.weight, totals.mean, totals.supporters, totals.within_clip) == (None, None, None, None)
    assert totals.received is not None
    assert totals.received.confusion.tolist() == [[12, 0], [0, 12]]


def test_totals_without_counts_have_none() -> None:
    layout = expected_layout(PLAN, N_MAX, CLIP_MICRO, with_counts=False)
    totals = read_totals(layout, sums_of([contribution_of(PLAN, i) for i in range(3)], layout), 3)
    assert totals.received is None
    assert totals.local is None
    assert totals.weight == 60


GOOD = sums_of([contribution_of(PLAN, i) for i in range(3)])


@pytest.mark.parametrize("segment", LAYOUT, ids=lambda segment: segment.kind)
@pytest.mark.parametrize("side", ["lo", "hi"])
def test_one_step_outside_the_range_fails(segment: Segment, side: str) -> None:
    outside = 3 * segment.hi + 1 if side == "hi" else 3 * segment.lo - 1
    for at in {PLACES[segment.kind].start, PLACES[segment.kind].stop - 1}:
        total = GOOD.copy()
        total[at] = outside
        assert check_sum(LAYOUT, total, 3) == f"{segment.kind}-out-of-range"


def test_the_limits_themselves_pass_for_a_cohort_of_that_size() -> None:
    total = GOOD.copy()
    for segment in LAYOUT:
        if segment.kind != "update":
            total[PLACES[segment.kind]] = 3 * segment.hi
    assert check_sum(LAYOUT, total, 3) is None
    assert check_sum(LAYOUT, total, 2) == "weight-out-of-range"


@pytest.mark.parametrize("weight", [1, 60, 3 * W_MAX])
def test_the_update_norm_is_bounded_as_proved(weight: int) -> None:
    """By the pictures that the sum itself counts: at most Q for each W_max of them, and the rounding of three."""
    bound = STEPS * weight / W_MAX + 3 * math.sqrt(8)
    inside, outside = math.floor(bound / math.sqrt(8)), math.ceil(bound / math.sqrt(8))
    total = GOOD.copy()
    total[PLACES["weight"]] = weight
    total[PLACES["update"]] = inside
    assert check_sum(LAYOUT, total, 3) is None
    total[PLACES["update"]] = outside
    assert check_sum(LAYOUT, total, 3) == "update-norm-too-large"


def test_the_worst_honest_devices_pass_the_norm_check() -> None:
    update = np.full(8, 1e6)
    for examples in (1, 40, W_MAX):
        honest = [dataclasses.replace(contribution_of(PLAN, i), update=update, examples=examples) for i in range(N_MAX)]
        assert check_sum(LAYOUT, sums_of(honest), N_MAX) is None


def test_no_pictures_at_all_fail() -> None:
    total = GOOD.copy()
    total[PLACES["weight"]] = 0
    assert check_sum(LAYOUT, total, 3) == "no-pictures"


def test_the_vector_has_the_layouts_length() -> None:
    assert encode(LAYOUT, said(), stream()).shape == (layout_length(LAYOUT),) == (22,)
    assert encode(LAYOUT, said(), stream()).dtype == np.uint32


@pytest.mark.parametrize(("n_max", "scale"), [(2, 100), (2147, 100), (2148, 99), (10_000, 21), (200_000, 1)])
def test_a_large_cohort_measures_its_loss_more_coarsely(n_max: int, scale: int) -> None:
    layout = expected_layout(PLAN, n_max, CLIP_MICRO, with_counts=True)
    loss = next(segment for segment in layout if segment.kind == "loss")
    assert (loss.scale_numerator, loss.hi) == (scale, scale * LOSS_MAX)
    measured = Measured(np.eye(2, dtype=np.int64), 12.0)
    contributions = [dataclasses.replace(contribution_of(PLAN, i), received=measured) for i in range(3)]
    totals = read_totals(layout, sums_of(contributions, layout), 3)
    assert totals.received is not None
    assert totals.received.loss_sum == 36.0
