"""What must hold for every update: bounds, exactness on integers, and rounding that is right on average."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fanlight.core.quantise import clip, quantise, share_within, to_nearest
from fanlight.core.randomness import Keystream

SEEDS = st.binary(min_size=32, max_size=32)
LIMIT = 2**31 - 1
SCALES = st.fractions(Fraction(1, 10**6), 10**6, max_denominator=10**6).filter(lambda scale: scale > 0)


def reals(bound: float) -> st.SearchStrategy[Any]:
    return arrays(np.float64, st.integers(0, 40), elements=st.floats(-bound, bound))


@given(x=reals(2.0**29), lo=st.integers(-(2**61), 0), hi=st.integers(0, 2**61))
def test_the_nearest_integer_is_at_most_half_a_step_away(x: Any, lo: int, hi: int) -> None:
    """At the scale of statistics the product is exact, so this is asked of exact fractions."""
    for value, rounded in zip(x.tolist(), to_nearest(x, Fraction(2**32), lo, hi).tolist(), strict=True):
        wanted = Fraction(value) * 2**32
        if lo <= wanted <= hi:
            assert abs(rounded - wanted) <= Fraction(1, 2)
        else:  # a bound that a float64 cannot hold is met within the float's own spacing
            assert rounded in (float(lo), float(hi))


@given(
    x=reals(1e300), scale=SCALES, bounds=st.tuples(st.integers(-LIMIT, LIMIT), st.integers(-LIMIT, LIMIT)), seed=SEEDS
)
def test_never_outside_the_bounds_nor_a_step_away(
    x: Any, scale: Fraction, bounds: tuple[int, int], seed: bytes
) -> None:
    lo, hi = min(bounds), max(bounds)
    steps = np.clip(x * float(scale), lo, hi)
    drawn = quantise(x, scale, lo, hi, Keystream(seed))
    assert ((lo <= drawn) & (drawn <= hi)).all()
    # A value nearer than 2^-33 to the next integer counts as that integer.
    assert (drawn >= np.floor(steps)).all()
    assert (drawn <= np.ceil(steps)).all()


@given(values=st.lists(st.integers(-LIMIT, LIMIT)), seed=SEEDS)
def test_integers_are_exact(values: list[int], seed: bytes) -> None:
    x = np.array(values, dtype=np.float64)
    assert quantise(x, Fraction(1), -LIMIT, LIMIT, Keystream(seed)).tolist() == values


@given(value=st.floats(-(2.0**22), 2.0**22), seed=SEEDS)
def test_the_mean_over_every_word_is_the_value(value: float, seed: bytes) -> None:
    """Words spread evenly over the whole range stand for all of them, so the mean needs no tolerance for luck."""
    count = 4096

    class Even(Keystream):
        def words(self, most: int) -> Any:
            class Ramp:
                def next(self, count: int) -> Any:
                    return (np.arange(count, dtype=np.uint64) * (2**32 // count) + 2**31 // count).astype(np.uint32)

            return Ramp()

    drawn = quantise(np.full(count, value), Fraction(1), -(2**23), 2**23, Even(seed))
    assert abs(drawn.mean() - value) <= 1 / count


@given(value=st.floats(-1000.0, 1000.0), seed=SEEDS)
def test_the_mean_over_many_draws_is_the_value(value: float, seed: bytes) -> None:
    count = 20_000
    drawn = quantise(np.full(count, value), Fraction(1), -2000, 2000, Keystream(seed))
    fraction = value - math.floor(value)
    # Eight standard deviations (Bernstein's bound gives less than 10^-10), so that no seed of hypothesis finds luck.
    tolerance = 8 * math.sqrt(fraction * (1 - fraction) / count) + 16 / count
    assert abs(drawn.mean() - value) <= tolerance


@given(update=reals(1e100), bound=st.floats(1e-6, 1e100))
def test_a_clipped_update_is_short_and_points_the_same_way(update: Any, bound: float) -> None:
    clipped = clip(update, bound)
    norm = math.hypot(*update)
    assert math.isclose(clipped.norm, norm, rel_tol=1e-12, abs_tol=1e-150)
    assert math.hypot(*clipped.vector) <= bound * (1 + 1e-12)
    share = share_within(update, bound)
    assert np.array_equal(clipped.vector, update * share)
    assert clipped.within == (share == 1)
    if clipped.within:
        assert clipped.vector is update
    else:
        assert math.isclose(math.hypot(*clipped.vector), bound, rel_tol=1e-12)
        assert np.allclose(clipped.vector / bound, update / norm, rtol=1e-12, atol=1e-12)


@given(update=reals(1e6), bound=st.floats(1e-3, 1e4), steps=st.integers(256, 2**22), seed=SEEDS)
def test_an_honest_update_stays_within_the_range_check(update: Any, bound: float, steps: int, seed: bytes) -> None:
    """The main server refuses a sum whose norm exceeds |S|·(Q + √d); one device alone must stay below Q + √d."""
    drawn = quantise(clip(update, bound).vector, Fraction(steps) / Fraction(bound), -steps, steps, Keystream(seed))
    assert math.hypot(*drawn.tolist()) <= (steps + math.sqrt(len(drawn))) * (1 + 1e-12)
