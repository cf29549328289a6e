"""From real numbers to bounded integers: clipping to an L2 ball, and rounding that is right on average, or nearest.

Rules, and why they hold:

1. Clipping: a vector with norm above C is scaled by C/norm, so no device moves the sum by more than C.
2. Stochastic rounding: q = floor(t + u) with t = x·scale and u uniform in [0, 1) has mean t, so the rounding errors of
   many devices cancel instead of adding up.
3. Exactly, in fixed point: v = nearest integer to t·2^32, and q = floor((v + u32)/2^32) for a 32-bit word u32. The mean
   of q is v/2^32, within 2^-33 of t and on no preferred side; an integer t is never moved; t in [lo, hi] gives q in
   [lo, hi]. (t + u in floating point has none of the three: a large t swallows the low bits of u. In float32 the bias
   is plain to see.) v + u32 < 2^63 because bounds are below 2^31.
4. Rounding to the nearest integer is for sums that are solved for instead of averaged: an error has then no chance to
   cancel, so the least one is the best, within half a step; and a device that sends the difference to what it sent
   before needs the same integers again for the same pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.errors import ModelError, SettingsError

_PIECE: Final = 1 << 15  # coordinates a pass: 256 KiB of float64 and 128 KiB of random words stay in the L2 cache
_FRACTION_BITS: Final = 32
_LIMIT: Final = 1 << 31
_LONG_LIMIT: Final = 1 << 62
_DEVIATIONS: Final = 12.0
SMALLEST_BOUND: Final = 1e-6


@dataclass(frozen=True)
class Clipped:
    """A clipped update.

    Attributes:
        vector: (d,) float64, L2 norm at most the bound (up to float rounding); the input itself if it was within.
        norm: the L2 norm before clipping.
        within: whether ``norm`` was at most the bound.
    """

    vector: NDArray[np.float64]
    norm: float
    within: bool


def clip(update: NDArray[np.float64], bound: float) -> Clipped:
    """Scale (d,) ``update`` down to L2 norm ``bound`` if it is longer.

    Args:
        update: (d,) float64.
        bound: C, at least 1e-6 (what a manifest can state), so that no square near it can underflow.

    Raises:
        SettingsError: the bound is out of range.
        ModelError: the update is not a float64 vector, or its norm is not a finite number.
    """
    length = _length(update, bound)
    if length <= bound:
        return Clipped(update, length, True)
    return Clipped(update * (bound / length), length, False)


def share_within(update: NDArray[np.float64], bound: float) -> float:
    """What ``clip`` leaves of an update's length, without its vector: 1 if, and only if, it was within the bound."""
    length = _length(update, bound)
    return 1.0 if length <= bound else bound / length


def _length(update: NDArray[np.float64], bound: float) -> float:
    if not (math.isfinite(bound) and bound >= SMALLEST_BOUND):
        raise SettingsError(f"a clipping bound is a number of at least {SMALLEST_BOUND}, not {bound}")
    _check_type(update)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # what matters of it shows in the norm
        length = norm(update)
    if not math.isfinite(length):
        raise _diverged()
    return length


def norm(x: NDArray[np.float64] | NDArray[np.int32] | NDArray[np.int64]) -> float:
    """The L2 norm of a (d,) vector, computed in float64.

    Not by BLAS: for a long vector it starts threads that go on spinning when they are done, which took a third of the
    processor in a round with millions of parameters.
    """
    return math.sqrt(np.einsum("i,i->", x, x, dtype=np.float64))


def norm_of_sum(steps: int, length: int, count: int, weight: float) -> float:
    """Greatest L2 norm, in steps, of a sum of ``count`` updates that were clipped, weighted and rounded as here.

    An update of weight w is at most w·``steps`` long, and all of them together at most ``weight``·``steps`` (triangle
    inequality); what is left is their rounding. One error is below 1, so their sum is at most count·√length long. Of
    many it is far less: the errors are independent, have mean 0, variance at most 1/4 and a range of 1, so the root
    mean square of their sum's norm is at most √(count·length)/2; and the norm, a convex function that is
    √count-Lipschitz in them, is above its mean by more than t·√count with probability at most exp(-t²/2) (Boucheron,
    Lugosi and Massart 2013, theorem 6.10). With t = 12 that is 6·10^-32 a round.

    Args:
        steps: Q. length: d. count: |S|.
        weight: Σw, 0 to ``count``; a device that counts fully has weight 1, and with pictures w = n/W_max.
    """
    surely = count * math.sqrt(length)
    return weight * steps + min(surely, math.sqrt(count) * (math.sqrt(length) / 2 + _DEVIATIONS))


def quantise(
    x: NDArray[np.float64],
    scale: Fraction,
    lo: int,
    hi: int,
    stream: Keystream,
    *,
    weight: float = 1.0,
    out: NDArray[np.int32] | None = None,
) -> NDArray[np.int32]:
    """Round x·weight·scale stochastically to integers; unbiased for values in [lo, hi].

    Args:
        x: (d,) float64, finite.
        scale: steps per unit, positive.
        lo: least result; smaller values are cut off there.
        hi: greatest result, likewise; -2^31 < lo <= hi < 2^31.
        stream: the device-private generator; d words of 32 bits are taken from it.
        weight: of the device, finite; in here it costs no pass over the vector, nor a copy.
        out: (d,) where the result is to lie; a new array by default.

    Returns:
        (d,) int32 in [lo, hi].

    Raises:
        SettingsError: the scale is not positive or the bounds are out of range.
        ModelError: x is not a float64 vector or not finite; ``out`` then means nothing.
    """
    factor = _factor(scale, lo, hi)
    _check_real_vector(x)
    rounded = np.empty(len(x), np.int32) if out is None else out
    steps = np.empty(min(_PIECE, len(x)), np.float64)
    fixed = np.empty(len(steps), np.int64)
    words = stream.words(_PIECE)
    for start in range(0, len(x), _PIECE):
        piece = x[start : start + _PIECE]
        some = fixed[: len(piece)]
        np.copyto(some, _in_fixed_point(piece, weight, factor, lo, hi, steps[: len(piece)]), casting="unsafe")
        some += words.next(len(piece))
        some >>= _FRACTION_BITS
        rounded[start : start + _PIECE] = some
    return rounded


def to_nearest(x: NDArray[np.float64], scale: Fraction, lo: int, hi: int) -> NDArray[np.int64]:
    """Round x·scale to the nearest integers, (d,) float64 to (d,) int64 in [lo, hi]; ties to even.

    With a scale that is a power of two nothing else is lost: the product is exact.

    Args:
        x: (d,) float64, finite.
        scale: steps per unit, positive.
        lo: least result; smaller values are cut off there.
        hi: greatest result, likewise; -2^62 <= lo <= hi <= 2^62.

    Raises:
        SettingsError: the scale is not positive or the bounds are out of range.
        ModelError: x is not a float64 vector or not finite.
    """
    factor = _factor(scale, lo, hi, _LONG_LIMIT + 1)
    _check_real_vector(x)
    rounded = np.empty(len(x), dtype=np.int64)
    work = np.empty(min(_PIECE, len(x)), dtype=np.float64)
    for start in range(0, len(x), _PIECE):
        piece = x[start : start + _PIECE]
        steps = work[: len(piece)]
        with np.errstate(over="ignore"):  # as in ``_in_fixed_point``
            np.multiply(piece, factor, out=steps)
        np.clip(steps, lo, hi, out=steps)
        np.copyto(rounded[start : start + _PIECE], np.rint(steps, out=steps), casting="unsafe")
    return rounded


def _in_fixed_point(
    x: NDArray[np.float64], weight: float, factor: float, lo: int, hi: int, steps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """x·weight·factor, cut off at ``lo`` and ``hi``, in whole multiples of 2^-32: how many of them there are."""
    unit = 2.0**_FRACTION_BITS  # a power of two: to multiply by it changes no digit
    with np.errstate(over="ignore"):  # an overflow is cut off at lo or hi like any other value beyond them
        np.multiply(x, weight, out=steps)
        np.multiply(steps, factor * unit, out=steps)
    np.clip(steps, lo * unit, hi * unit, out=steps)
    return np.rint(steps, out=steps)


def _factor(scale: Fraction, lo: int, hi: int, limit: int = _LIMIT) -> float:
    if not -limit < lo <= hi < limit:
        raise SettingsError(f"bounds must lie between -{limit} and {limit}, not {lo} and {hi}")
    factor = float(scale) if 0 < scale < _LIMIT**8 else 0.0
    if factor == 0.0:
        raise SettingsError(f"a scale is a positive number that a float can hold, not {scale}")
    return factor


def _check_real_vector(x: NDArray[np.float64]) -> None:
    _check_type(x)
    if not all(np.isfinite(x[start : start + _PIECE]).all() for start in range(0, len(x), _PIECE)):
        raise _diverged()


def _check_type(x: NDArray[np.float64]) -> None:
    if x.dtype != np.float64 or x.ndim != 1:
        raise ModelError(f"an update is a float64 vector, not {x.dtype} of shape {x.shape}")


def _diverged() -> ModelError:
    return ModelError(
        "the update holds values that are not finite numbers, or far too large ones",
        next="Training has diverged: lower the learning rate and train again.",
    )
