"""What some federated algorithms have devices send beside their update, and how main reads it out of the sum.

    control   change of the control variate, (d,), scale Q/C', stochastic rounding; unweighted: each device counts
              the same. C' stands in the plan.
    steps     n · steps in thousandths, exact, as three digits to the base 2^15: one number of 32 bits would not hold
              the sum. Steps are in the algorithm's unit, up to ``STEPS_MAX``.

Checks of the sum: the norm of ``control`` as that of updates; ``steps`` at most ``STEPS_MAX`` for each picture. Ranges
of single coordinates are checked with those of all segments.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core import quantise
from fanlight.core.segments import Segment, quantisation_steps, update_scale
from fanlight.errors import ModelError
from fanlight.protocol.plan import Plan

Integers = NDArray[np.int32] | NDArray[np.int64]
"""A sum, centred. One of 32-bit words fits in as many; see ``segments.check_layout``."""

STEPS_MAX: Final = 100
"""Most steps that one device can say, in the algorithm's unit: a cheat can stretch the mean update by no more."""
_PER_STEP: Final = 1000
_DIGITS: Final = 3
_DIGIT_BITS: Final = 15
_BASE: Final = 1 << _DIGIT_BITS


def segments(plan: Plan, n_max: int) -> tuple[Segment, ...]:
    """The segments of a training round that the plan's algorithm adds.

    Raises:
        SettingsError: so many devices cannot be summed.
    """
    planned, found = plan.algorithm, []
    if planned is not None and planned.control_clip_micro is not None:
        most = quantisation_steps(n_max)
        scale = update_scale(most, planned.control_clip_micro)
        found.append(Segment("control", plan.parameters, 32, *scale, -most, most, "stochastic"))
    if planned is not None and planned.steps:
        found.append(Segment("steps", _DIGITS, 32, _PER_STEP, 1, 0, _BASE - 1, "exact"))
    return tuple(found)


def control_clip(segment: Segment) -> float:
    """C', the largest L2 norm of the change of a control variate that the segment's scale implies."""
    return float(segment.hi / segment.scale)


def steps(said: float, examples: int) -> NDArray[np.int64]:
    """n · steps, as digits.

    Raises:
        ModelError: not a positive number.
    """
    if not 0 < said < np.inf:
        raise ModelError(f"a number of steps is positive, not {said}")
    rest = round(min(said, STEPS_MAX) * _PER_STEP * examples)
    return np.array([rest >> (_DIGIT_BITS * place) & (_BASE - 1) for place in range(_DIGITS)], np.int64)


def flaw(segment: Segment, part: Integers, count: int, pictures: int) -> str:
    """Why a part of the sum cannot be what honest devices sent (a slug); empty if it can, as parts of other kinds can.

    Args:
        segment, part: of the sum.
        count, pictures: devices in it, and the pictures that they say they have.
    """
    if segment.kind == "control":
        most = quantise.norm_of_sum(segment.hi, segment.length, count, count)
        return "control-norm-too-large" if quantise.norm(part) > most else ""
    if segment.kind == "steps" and not 0 < _number(part) <= STEPS_MAX * _PER_STEP * pictures:
        return "steps-out-of-range"
    return ""


def mean_steps(part: Integers, pictures: int) -> float:
    """Mean of the steps, each device weighing as its pictures."""
    return _number(part) / (_PER_STEP * pictures)


def _number(part: Integers) -> int:
    return sum(int(digit) << (_DIGIT_BITS * place) for place, digit in enumerate(part))
