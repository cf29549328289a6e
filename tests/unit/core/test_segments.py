from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fanlight.core.segments import (
    Segment,
    check_layout,
    is_long,
    layout_length,
    layout_words,
    packed_update,
    quantisation_steps,
    slices,
    update_scale,
)
from fanlight.errors import MalformedMessage, SettingsError

WEIGHT = Segment("weight", 1, 32, 1, 1, 0, 10_000, "exact")
UPDATE = Segment("update", 1000, 32, 52_428, 1, -524_287, 524_287, "stochastic")
COUNTS = Segment("counts", 8, 32, 1, 1, 0, 10_000, "exact")
LAYOUT = [WEIGHT, UPDATE, COUNTS]


def test_segments_lie_one_after_another() -> None:
    assert layout_length(LAYOUT) == 1009
    where = slices(LAYOUT)
    assert where == {"weight": slice(0, 1), "update": slice(1, 1001), "counts": slice(1001, 1009)}
    assert sum(len(np.arange(1009)[part]) for part in where.values()) == 1009


def test_a_good_layout_passes_and_the_scale_is_a_fraction() -> None:
    check_layout(LAYOUT, 1000)
    assert replace(UPDATE, scale_numerator=4, scale_denominator=6).scale == Fraction(2, 3)


@pytest.mark.parametrize(("lo", "hi"), [(0, 2), (-2, 0), (-2, 1)])
def test_a_sum_may_come_up_to_half_the_ring_but_not_reach_it(lo: int, hi: int) -> None:
    segment = replace(WEIGHT, lo=lo, hi=hi)
    check_layout([segment], 2**30 - 1)
    with pytest.raises(MalformedMessage, match="could overflow 32 bits"):
        check_layout([segment], 2**30)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "pictures"},
        {"rounding": "down"},
        {"length": 0},
        {"length": -5},
        {"bits": 1, "hi": 0},
        {"bits": 17},
        {"bits": 33},
        {"scale_numerator": 0},
        {"scale_denominator": 0},
        {"scale_numerator": -1, "scale_denominator": -1},
        {"scale_numerator": 2**63},
        {"scale_denominator": 2**63},
        {"lo": 5, "hi": 4},
        {"length": 2**28 + 1},
    ],
)
def test_a_segment_that_breaks_a_rule_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        check_layout([replace(WEIGHT, **changes)], 10)


def test_a_layout_is_in_words_of_64_bits_throughout_or_nowhere() -> None:
    long = [replace(segment, bits=64) for segment in (WEIGHT, COUNTS)]
    check_layout(long, 10)
    assert is_long(long)
    assert layout_words(long) == 2 * layout_length(long)
    with pytest.raises(MalformedMessage, match="throughout"):
        check_layout([long[0], COUNTS], 10)
    check_layout([replace(WEIGHT, bits=64, hi=2**62)], 1)
    with pytest.raises(MalformedMessage, match="could overflow 64 bits"):
        check_layout([replace(WEIGHT, bits=64, hi=2**62)], 2)
    with pytest.raises(MalformedMessage, match="limit"):
        check_layout([replace(WEIGHT, bits=64, length=2**27 + 1)], 10)


def test_the_limit_holds_for_the_whole_vector() -> None:
    halves = [replace(WEIGHT, length=2**27), replace(COUNTS, length=2**27)]
    check_layout(halves, 10)
    with pytest.raises(MalformedMessage, match="limit"):
        check_layout([*halves, replace(UPDATE, length=1)], 10)


def test_no_segment_a_kind_twice_or_no_device_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="each kind once"):
        check_layout([], 10)
    with pytest.raises(MalformedMessage, match="'weight', 'weight'"):
        check_layout([WEIGHT, WEIGHT], 10)
    with pytest.raises(MalformedMessage, match="at least one device"):
        check_layout(LAYOUT, 0)


@pytest.mark.parametrize(
    ("n_max", "steps"),
    [(1, 2**22), (127, 2**22), (128, 2**22 - 1), (1000, 536_870), (2_097_151, 256)],
)
def test_steps_of_an_update(n_max: int, steps: int) -> None:
    assert quantisation_steps(n_max) == steps
    check_layout([replace(UPDATE, lo=-steps, hi=steps)], n_max)


@pytest.mark.parametrize(
    ("n_max", "update_bits", "steps", "bits"),
    [(1000, 16, 32_767, 26), (1000, 10, 511, 20), (2, 10, 511, 11), (40_000, 10, 511, 26), (256, 23, 2**22 - 1, 31)],
)
def test_a_packed_update_takes_the_smallest_ring_that_holds_its_sum(
    n_max: int, update_bits: int, steps: int, bits: int
) -> None:
    assert packed_update(n_max, update_bits) == (steps, bits)
    packed = replace(UPDATE, bits=bits, lo=-steps, hi=steps)
    check_layout([packed], n_max)
    with pytest.raises(MalformedMessage, match=f"could overflow {bits - 1} bits"):
        check_layout([replace(packed, bits=bits - 1)], n_max)


@pytest.mark.parametrize("update_bits", range(10, 24))
def test_the_largest_cohort_of_a_width_is_named_where_there_are_too_many(update_bits: int) -> None:
    with pytest.raises(SettingsError, match=f"{update_bits} bits") as caught:
        packed_update(2**22, update_bits)
    most = int(caught.value.next.split("at most ")[1].split()[0])
    assert packed_update(most, update_bits)[1] == 31
    with pytest.raises(SettingsError):
        packed_update(most + 1, update_bits)


def test_what_to_do_with_too_large_a_cohort_works() -> None:
    with pytest.raises(SettingsError) as caught:
        packed_update(40_000, 16)
    assert caught.value.next == (
        "Set the largest cohort to at most 32769 devices, the update's width to at most 15 bits, or the width to 0 for "
        "the whole ring."
    )
    assert packed_update(40_000, 15) == (16_383, 31)


@pytest.mark.parametrize("update_bits", [-1, 1, 9, 24, 32])
def test_widths_in_which_updates_cannot_travel_are_refused_with_the_range(update_bits: int) -> None:
    with pytest.raises(SettingsError) as caught:
        packed_update(1000, update_bits)
    assert "10 to 23 bits" in caught.value.next


def test_a_packed_segment_is_counted_in_whole_words() -> None:
    assert [replace(UPDATE, length=length, bits=26).words for length in (1, 2, 16, 17)] == [1, 2, 13, 14]
    assert layout_words(LAYOUT) == layout_length(LAYOUT)
    assert layout_words([WEIGHT, replace(UPDATE, bits=26), COUNTS]) == 1 + 813 + 8


@pytest.mark.parametrize("n_max", [0, -1, 2_097_152, 2**40])
def test_cohorts_that_32_bits_cannot_sum_are_refused_with_the_range(n_max: int) -> None:
    with pytest.raises(SettingsError) as caught:
        quantisation_steps(n_max)
    assert "2097151" in caught.value.next


def test_the_update_scale_is_exact() -> None:
    assert update_scale(536_870, 10_000_000) == (53_687, 1)
    assert Fraction(*update_scale(2**22, 3)) == Fraction(2**22 * 10**6, 3)
    for q_max, clip_micro in [(0, 1), (1, 0), (1, -1)]:
        with pytest.raises(SettingsError):
            update_scale(q_max, clip_micro)
