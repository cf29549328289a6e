"""Packed updates: what a device accepts, what a report costs to send, and what main reads out of the sum."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import quantise
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment, check_layout, layout_length, layout_words, slices
from fanlight.errors import Refused, SettingsError
from fanlight.protocol import main_round
from fanlight.protocol.contribution import (
    W_MAX,
    centre,
    check_sum,
    encode,
    expected_layout,
    is_expected,
    read_totals,
)
from fanlight.protocol.report import ENVELOPE_LIMIT, body_bytes
from tests.protocol_world import Round, World, contribution_of, plan_of, secret

WORLD = World(3, "packed")
PLAN = plan_of()
CLIP_MICRO = 10_000_000


def layout_of(update_bits: int, **more: Any) -> tuple[Segment, ...]:
    return expected_layout(PLAN, 1000, CLIP_MICRO, with_counts=True, update_bits=update_bits, **more)


def replaced(layout: tuple[Segment, ...], kind: str, **changes: Any) -> tuple[Segment, ...]:
    return tuple(dataclasses.replace(part, **changes) if part.kind == kind else part for part in layout)


# ---- layouts


@pytest.mark.parametrize(("update_bits", "bits", "steps"), [(16, 26, 32_767), (10, 20, 511)])
def test_only_the_update_is_packed(update_bits: int, bits: int, steps: int) -> None:
    layout, plain = layout_of(update_bits), layout_of(0)
    check_layout(layout, 1000)
    (update,) = (segment for segment in layout if segment.kind == "update")
    assert (update.bits, update.lo, update.hi) == (bits, -steps, steps)
    assert [part for part in layout if part is not update] == [part for part in plain if part.kind != "update"]
    assert layout_words(layout) == layout_length(layout) - 8 + math.ceil(8 * bits / 32)


def test_a_measuring_round_has_nothing_to_pack() -> None:
    plan = plan_of(kind="measure")
    assert expected_layout(plan, 1000, 1, with_counts=True, update_bits=16) == expected_layout(
        plan, 1000, 1, with_counts=True
    )


def test_a_cohort_that_is_too_large_for_a_width_is_refused_with_what_to_do() -> None:
    with pytest.raises(SettingsError, match="40000 devices") as caught:
        expected_layout(PLAN, 40_000, 1, with_counts=True, update_bits=16)
    assert "at most 15 bits" in caught.value.next


@pytest.mark.parametrize("update_bits", [0, *range(10, 22)])
@pytest.mark.parametrize("most_pictures", [1, 100, W_MAX])
@pytest.mark.parametrize("with_counts", [True, False])
def test_a_device_accepts_every_width_and_cap(update_bits: int, most_pictures: int, with_counts: bool) -> None:
    widths = {"update_bits": update_bits, "most_pictures": most_pictures}
    layout = expected_layout(PLAN, 1000, 333_333, with_counts=with_counts, **widths)
    assert is_expected(layout, PLAN, 1000)
    assert not is_expected(layout, PLAN, 1 << 20), "the ring follows from the cohort"


PACKED = layout_of(16)


@pytest.mark.parametrize(
    "layout",
    [
        replaced(PACKED, "update", bits=25),
        replaced(PACKED, "update", bits=27),
        replaced(PACKED, "update", bits=32),
        replaced(PACKED, "update", hi=32_766, lo=-32_766, scale_numerator=16_383, scale_denominator=5),
        replaced(PACKED, "update", hi=255, lo=-255, scale_numerator=51, scale_denominator=2, bits=19),
        replaced(PACKED, "update", lo=-32_768),
        replaced(PACKED, "update", length=9),
        replaced(PACKED, "update", rounding="exact"),
        replaced(PACKED, "weight", bits=26),
        replaced(PACKED, "weight", hi=0),
        replaced(PACKED, "weight", hi=W_MAX + 1),
        replaced(PACKED, "counts", bits=25),
        replaced(PACKED, "supporters", bits=11),
        replaced(layout_of(0), "update", bits=31),
    ],
)
def test_a_device_refuses_a_packed_layout_that_it_would_not_have_made(layout: tuple[Segment, ...]) -> None:
    assert not is_expected(layout, PLAN, 1000)


def test_the_machine_refuses_it_too() -> None:
    for layout in (replaced(PACKED, "update", bits=27), replaced(PACKED, "weight", hi=0)):
        told = Round(WORLD, layout=layout).open()
        with pytest.raises(Refused) as caught:
            told.commit(WORLD.owners[0])
        assert caught.value.slug == "bad-layout"


# ---- what is sent

MILLION = plan_of(features=49_999, classes=tuple(f"c{number}" for number in range(20)))


@pytest.mark.parametrize(("update_bits", "most"), [(0, 4.02), (16, 3.3), (10, 2.6)])
def test_bytes_a_parameter_on_the_wire_with_1000_devices(update_bits: int, most: float) -> None:
    """A million parameters and 20 classes, with counts and the longest envelope there can be."""
    layout = expected_layout(MILLION, 1000, CLIP_MICRO, with_counts=True, update_bits=update_bits)
    assert body_bytes(bytes(ENVELOPE_LIMIT), layout_words(layout)) <= most * MILLION.parameters


@pytest.mark.parametrize("update_bits", [0, 10, 16])
def test_a_report_has_the_words_of_its_layout(update_bits: int) -> None:
    told = Round(WORLD, update_bits=update_bits).open()
    sent = told.commit(WORLD.owners[0])
    words = layout_words(told.proposal.layout)
    assert told.manifest().length == sent.record.length == sent.y.size == words
    assert words == {0: 22, 10: 14 + 5, 16: 14 + 7}[update_bits]


# ---- the sum


@pytest.mark.parametrize("update_bits", [10, 16, 21])
@pytest.mark.parametrize("most_pictures", [20, W_MAX])
def test_main_learns_the_exact_sum(update_bits: int, most_pictures: int) -> None:
    told = Round(WORLD, update_bits=update_bits, most_pictures=most_pictures).open().collect().agree()
    release, vector = told.release()
    assert vector.size == layout_words(told.proposal.layout)
    found, plain = told.unmasked(vector), np.sum([sent.plain for sent in told.reports], axis=0)
    assert np.array_equal(found, plain)
    step = told.take_release(release, vector)
    assert told.m.at is main_round.State.RELEASED
    assert step.totals is not None
    assert step.totals.weight == sum(min(weight, most_pictures) for weight in (10, 20, 30))
    assert step.totals.mean is not None
    expected = read_totals(told.proposal.layout, plain, 3).mean
    assert step.totals.mean.tolist() == (expected if expected is not None else plain).tolist()
    told.finish(step.reply)
    assert [told.end(sent).was_included for sent in told.reports] == [True] * 3


@pytest.mark.parametrize("update_bits", [10, 16])
@pytest.mark.parametrize("most_pictures", [40, W_MAX])
def test_the_mean_is_as_exact_as_stated(update_bits: int, most_pictures: int) -> None:
    """RMS error of the mean <= W_max·√N·C/(2Q·Σn) a coordinate; a cap near the real numbers makes it small."""
    plan, count = plan_of(features=499), 30
    layout = expected_layout(
        plan, 1000, CLIP_MICRO, with_counts=False, update_bits=update_bits, most_pictures=most_pictures
    )
    said = [dataclasses.replace(contribution_of(plan, i % 7), examples=40) for i in range(count)]
    updates = [one.update for one in said if one.update is not None]
    mean = np.mean([quantise.clip(update, CLIP_MICRO / 1e6).vector for update in updates], axis=0)
    vectors = [encode(layout, one, Keystream(secret(str(i)))) for i, one in enumerate(said)]
    summed: NDArray[np.uint32] = np.sum(vectors, axis=0, dtype=np.uint32)
    total = centre(layout, summed)
    assert check_sum(layout, total, count) is None
    found = read_totals(layout, total, count).mean
    assert found is not None
    steps = 2 ** (update_bits - 1) - 1
    stated = most_pictures * math.sqrt(count) * (CLIP_MICRO / 1e6) / (2 * steps * 40 * count)
    assert math.sqrt(np.mean((found - mean) ** 2)) < 1.1 * stated  # 1,000 coordinates: within a few percent


@pytest.mark.parametrize("value", [1, -1, 511_000, -511_000, 2**19 - 1, -(2**19)])
def test_a_centred_sum_is_each_segments_own(value: int) -> None:
    layout = layout_of(10)
    places, vector = slices(layout), np.zeros(layout_length(layout), np.uint32)
    vector[places["update"]] = np.uint32(value % 2**20)
    vector[places["counts"]] = 2**20 - 1
    total = centre(layout, vector)
    assert set(total[places["update"]].tolist()) == {value}
    assert set(total[places["counts"]].tolist()) == {2**20 - 1}


# ---- the norm in place of the headroom


def garbage(layout: tuple[Segment, ...], good: NDArray[np.int64], draws: Keystream) -> NDArray[np.int64]:
    """An honest sum but for the update, which is uniform in its ring, as under a mask that was not taken off."""
    vector = good.astype(np.uint32)
    place = slices(layout)["update"]
    vector[place] = draws.uint32(place.stop - place.start)
    return centre(layout, vector).astype(np.int64)


@pytest.mark.parametrize("update_bits", [10, 16])
@pytest.mark.parametrize("features", [35, 200])
def test_garbage_that_no_range_check_could_see_has_too_long_an_update(update_bits: int, features: int) -> None:
    """The fullest ring there is: N·Q = 2^(b-1) - N, so that every element of it is in the range of honest sums."""
    plan, n_max = plan_of(features=features), 4
    layout = expected_layout(plan, n_max, CLIP_MICRO, with_counts=False, update_bits=update_bits)
    vectors = [encode(layout, contribution_of(plan, i), Keystream(secret(str(i)))) for i in range(n_max)]
    summed: NDArray[np.uint32] = np.sum(vectors, axis=0, dtype=np.uint32)
    good = centre(layout, summed).astype(np.int64)
    assert check_sum(layout, good, n_max) is None
    draws = Keystream(secret("garbage"))
    reasons = [check_sum(layout, garbage(layout, good, draws), n_max) for _ in range(300)]
    assert None not in reasons
    seen_by_range = 1 - (1 - 8 / 2 ** (update_bits + 2)) ** plan.parameters
    assert reasons.count("update-norm-too-large") > 300 * (1 - seen_by_range) * 0.9


def test_garbage_passes_as_rarely_as_stated() -> None:
    """In two dimensions, where it can be counted: as often as a point of the square is in the circle."""
    layout = (dataclasses.replace(PACKED[1], length=2, bits=18),)  # 4·32,767 = 2^17 - 4
    draws = Keystream(secret("square")).uint32(2 * 20_000).reshape(-1, 2)
    passed = sum(check_sum(layout, centre(layout, pair.copy()), 4) is None for pair in draws)
    radius = quantise.norm_of_sum(32_767, 2, 4, 4)
    stated = math.pi * (radius / 2**18) ** 2
    assert abs(passed / 20_000 - stated) < 4 * math.sqrt(stated * (1 - stated) / 20_000)
    # the bound of the decision record: V_d/2^d · (1 + √d/Q + √d/2^b)^d
    assert stated < math.pi / 4 * (1 + math.sqrt(2) / 32_767 + math.sqrt(2) / 2**18) ** 2
