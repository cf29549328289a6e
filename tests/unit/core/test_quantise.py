from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fanlight.core.quantise import clip, quantise, to_nearest
from fanlight.core.randomness import Keystream
from fanlight.errors import ModelError, SettingsError

SEED = bytes(range(32))
BAD_VECTORS = [
    np.array([0.0, np.nan]),
    np.array([0.0, np.inf]),
    np.array([-np.inf]),
    np.zeros(2, dtype=np.float32),
    np.zeros((2, 1)),
]


def generator() -> Keystream:
    return Keystream(SEED)


def test_a_short_update_is_left_alone() -> None:
    update = np.array([3.0, 4.0])
    clipped = clip(update, 5.0)
    assert clipped.vector is update
    assert (clipped.norm, clipped.within) == (5.0, True)


def test_a_long_update_keeps_its_direction() -> None:
    update = np.array([30.0, -40.0])
    clipped = clip(update, 5.0)
    assert clipped.vector == pytest.approx([3.0, -4.0], rel=1e-15)
    assert (clipped.norm, clipped.within) == (50.0, False)
    assert update.tolist() == [30.0, -40.0]


def test_nothing_has_norm_nought() -> None:
    assert clip(np.zeros(3), 1.0).within
    assert clip(np.empty(0), 1.0).norm == 0.0


@pytest.mark.parametrize("update", [*BAD_VECTORS, np.array([1e200, 1.0])])
def test_an_update_without_a_finite_norm_is_refused(update: Any) -> None:
    with pytest.raises(ModelError):
        clip(update, 1.0)


@pytest.mark.parametrize("bound", [0.0, -1.0, 1e-7, float("nan"), float("inf")])
def test_a_bound_out_of_range_is_refused(bound: float) -> None:
    with pytest.raises(SettingsError):
        clip(np.zeros(2), bound)


def test_rounding_is_up_as_often_as_the_fraction_says() -> None:
    count = 200_000
    for value in (0.25, -0.25, 0.9, -1234.4, 2**22 - 0.1):
        drawn = quantise(np.full(count, value), Fraction(1), -(2**22), 2**22, generator())
        share_up = np.mean(drawn - np.floor(value))
        fraction = value - np.floor(value)
        # 4.5 standard deviations of a mean of 200,000 draws; the seed is fixed.
        assert abs(share_up - fraction) < 4.5 * np.sqrt(fraction * (1 - fraction) / count)


def test_a_fraction_that_float32_would_swallow_is_not_lost() -> None:
    """2^22 has no room for .1 in float32: the mean of naive rounding there would be 2^22 exactly."""
    drawn = quantise(np.full(100_000, 2.0**22 + 0.1), Fraction(1), 0, 2**23, generator())
    assert 0.095 < drawn.mean() - 2**22 < 0.105


class Always(Keystream):
    """Draws one word for ever."""

    def __init__(self, word: int) -> None:
        super().__init__(SEED)
        self.word = word

    def words(self, most: int) -> Any:
        assert most > 0
        return self

    def next(self, count: int) -> Any:
        return np.full(count, self.word, dtype=np.uint32)


def test_integers_and_bounds_are_exact_whatever_is_drawn() -> None:
    bound = 2**31 - 1
    x = np.array([0.0, 1.0, -1.0, bound, -bound, 1e300, -1e300, 2**22 - 2.0**-31])
    drawn = quantise(x, Fraction(1), -bound, bound, Always(2**32 - 1))
    assert drawn.tolist() == [0, 1, -1, bound, -bound, bound, -bound, 2**22]
    assert drawn.dtype == np.int32


def test_fractions_finer_than_a_word_go_to_the_nearest_side() -> None:
    """Cut off instead, they would pull every mean down."""
    x = np.array([1 - 2.0**-34, -(2.0**-34), 1 - 2.0**-32])
    assert quantise(x, Fraction(1), -1, 1, Always(0)).tolist() == [1, 0, 0]


def test_a_value_beyond_the_bounds_is_cut_off() -> None:
    x = np.array([9.7, -9.7, 1e308])
    assert quantise(x, Fraction(2), -5, 7, generator()).tolist() == [7, -5, 7]


def test_the_scale_may_be_any_fraction() -> None:
    assert quantise(np.array([3.0]), Fraction(1, 3), -5, 5, generator()).tolist() == [1]


def test_pieces_are_rounded_with_different_words() -> None:
    """The vector is longer than one pass; a generator that began afresh would round both halves alike."""
    drawn = quantise(np.full(1 << 16, 0.5), Fraction(1), 0, 1, generator())
    assert not np.array_equal(drawn[: 1 << 15], drawn[1 << 15 :])


def test_the_generator_moves_on_by_one_word_a_coordinate() -> None:
    stream = generator()
    quantise(np.zeros(40_000), Fraction(1), 0, 1, stream)
    assert stream.bytes(8) == generator().bytes(160_008)[-8:]


def test_empty_vectors_are_rounded_too() -> None:
    assert quantise(np.empty(0), Fraction(1), 0, 1, generator()).shape == (0,)


@pytest.mark.parametrize("x", BAD_VECTORS)
def test_what_is_not_a_finite_vector_is_refused_before_anything_is_drawn(x: Any) -> None:
    stream = generator()
    with pytest.raises(ModelError):
        quantise(x, Fraction(1), 0, 1, stream)
    assert stream.bytes(8) == generator().bytes(8)


@pytest.mark.parametrize(
    ("scale", "lo", "hi"),
    [
        (Fraction(0), 0, 1),
        (Fraction(-1), 0, 1),
        (Fraction(1, 10**400), 0, 1),
        (Fraction(10**400), 0, 1),
        (Fraction(1), 1, 0),
        (Fraction(1), -(2**31), 0),
        (Fraction(1), 0, 2**31),
    ],
)
def test_scales_and_bounds_out_of_range_are_refused(scale: Fraction, lo: int, hi: int) -> None:
    with pytest.raises(SettingsError):
        quantise(np.zeros(1), scale, lo, hi, generator())


def test_the_nearest_integer_is_taken_and_ties_are_even() -> None:
    x = np.array([0.49, 0.5, 1.5, -0.5, -1.51, 7e9])
    assert to_nearest(x, Fraction(1), -(2**40), 2**40).tolist() == [0, 0, 2, 0, -2, 7_000_000_000]
    assert to_nearest(np.array([0.5**33, 2.0**29, -(2.0**29)]), Fraction(2**32), -(2**61), 2**61).tolist() == [
        0,
        2**61,
        -(2**61),
    ]
    assert to_nearest(np.linspace(-1, 1, 100_001), Fraction(50_000), -(2**40), 2**40).tolist() == list(
        range(-50_000, 50_001)
    )


@pytest.mark.parametrize("x", BAD_VECTORS)
def test_nearest_refuses_what_is_not_a_finite_vector(x: Any) -> None:
    with pytest.raises(ModelError):
        to_nearest(x, Fraction(1), 0, 1)


@pytest.mark.parametrize(("lo", "hi"), [(0, 2**62 + 1), (-(2**62) - 1, 0), (1, 0)])
def test_nearest_refuses_bounds_beyond_the_ring(lo: int, hi: int) -> None:
    with pytest.raises(SettingsError):
        to_nearest(np.zeros(1), Fraction(1), lo, hi)
