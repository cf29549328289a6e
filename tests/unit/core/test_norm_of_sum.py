"""How long a sum of honest updates can be: the worst there is passes, and not much more."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from fanlight.core.quantise import norm, norm_of_sum, quantise
from fanlight.core.randomness import Keystream

STEPS = 511


def worst_sum(count: int, length: int) -> float:
    """The norm of a sum of updates as long as they may be, all in one direction, that round as badly as can be."""
    update = np.full(length, STEPS / math.sqrt(length))
    update -= 0.5 - update % 1  # every coordinate half-way between two integers: the greatest variance
    update *= min(1, STEPS / np.linalg.norm(update))
    stream = Keystream(bytes(32))
    total = np.zeros(length, np.int64)
    for _ in range(count):
        total += quantise(update, Fraction(1), -STEPS, STEPS, stream)
    return norm(total)


@pytest.mark.parametrize(("count", "length"), [(1, 4), (2, 100), (30, 2562), (300, 2562), (40, 100_000)])
def test_the_longest_honest_sum_passes(count: int, length: int) -> None:
    assert worst_sum(count, length) <= norm_of_sum(STEPS, length, count, count)


def test_of_many_devices_rounding_grows_like_the_root_of_their_number() -> None:
    """What one cheat can add: less than 4 % more here; with |S|·√d it would be 196 %."""
    bound = norm_of_sum(STEPS, 1_000_000, 1000, 1000)
    assert bound < 1000 * STEPS * 1.04
    assert 1000 * (STEPS + 1000) > 1000 * STEPS * 2.9


def test_of_few_the_sure_bound_is_smaller() -> None:
    assert norm_of_sum(STEPS, 9, 2, 2) == 2 * (STEPS + 3)
    assert norm_of_sum(STEPS, 0, 1, 1) == STEPS


def test_what_counts_little_is_short() -> None:
    assert norm_of_sum(STEPS, 9, 2, 0.25) == STEPS / 4 + 2 * 3
