"""Robust aggregation over shards: from several sums to one mean that few bad ones cannot move at will.

The servers see no single report, but when a round is summed in shards (docs/adr/0017-shards.md) they see one sum each.
A cheat spoils its shard's mean; while enough shards are honest, these still find the middle. Shards have equally many
devices, drawn by lot, and what they say of their pictures could be a lie: all count the same.

    median             coordinate by coordinate (Yin et al. 1803.01498, definition 1)
    trimmed-mean       the mean without the largest and the smallest quarter, likewise (the same, definition 2)
    geometric-median   argmin Σ ‖z - z_i‖ (Pillutla et al. 1912.13445, RFA; how it is found: ``geometric_median``)
    krum               the one with the smallest sum of squared distances to its s - f - 2 nearest, f = ⌊(s - 3)/2⌋
                       (Blanchard et al. 2017, section 4)

Of s shards both medians stand fewer than s/2 bad ones, the trimmed mean max(1, ⌊s/4⌋), Krum f: none of three or four.
One shard is its own middle; of two there is no majority, and all four give their mean.

Each composes with algorithms whose server keeps nothing of what devices remember: what it gives takes the place of the
mean update; of numbers of steps the median is taken, since only in one dimension all four mean much the same. SCAFFOLD
and FedDyn are refused (``flaw_with``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.geometric_median import weights_of_median

Means = NDArray[np.float64]
"""(s, d): the mean update of each shard."""

TRIMMED: Final = 0.25
"""Share of the shards that are cut off at each end, rounded down, but at least one of three or more."""


def median(means: Means) -> NDArray[np.float64]:
    """(s, d) to (d,)."""
    middle: NDArray[np.float64] = np.median(_checked(means), axis=0)
    return middle


def trimmed_mean(means: Means) -> NDArray[np.float64]:
    """(s, d) to (d,)."""
    shards = len(_checked(means))
    cut = max(int(TRIMMED * shards), 1) if shards >= 3 else 0
    middle: NDArray[np.float64] = np.sort(means, axis=0)[cut : shards - cut].mean(axis=0)
    return middle


def geometric_median(means: Means) -> NDArray[np.float64]:
    """(s, d) to (d,); the sum of the distances to it is within a billionth of the least."""
    middle: NDArray[np.float64] = weights_of_median(_checked(means)) @ means
    return middle


def krum(means: Means) -> NDArray[np.float64]:
    """(s, d) to (d,): one of the means, or with fewer than three their mean."""
    shards = len(_checked(means))
    if shards < 3:
        plain: NDArray[np.float64] = means.mean(axis=0)
        return plain
    nearest = shards - (shards - 3) // 2 - 2
    apart = np.full((shards, shards), np.inf)
    for one, other in itertools.combinations(range(shards), 2):  # all at once would take s times the room of the means
        apart[one, other] = apart[other, one] = ((means[one] - means[other]) ** 2).sum()
    scores = np.sort(apart, axis=1)[:, :nearest].sum(axis=1)
    chosen: NDArray[np.float64] = means[int(scores.argmin())].copy()
    return chosen


def flaw_with(algorithm: Algorithm) -> str:
    """Why a middle does not go with an algorithm, in a sentence; empty if it does.

    Devices advance what they remember by their own change, honest ones in shards that do not count too. A server that
    adds up a middle instead never has their sum again, and the model stays off the optimum for good.
    """
    if not algorithm.mirrors:
        return ""
    return "The server must sum up what devices remember, which no middle of shards gives; it goes with the mean alone."


ROBUST: Final[Mapping[str, Callable[[Means], NDArray[np.float64]]]] = MappingProxyType(
    {"median": median, "trimmed-mean": trimmed_mean, "geometric-median": geometric_median, "krum": krum}
)
"""By the name that a task gives."""

FEWEST: Final[Mapping[str, int]] = MappingProxyType({"median": 3, "trimmed-mean": 3, "geometric-median": 3, "krum": 5})
"""From how many shards on each stands a bad one."""


def _checked(means: Means) -> Means:
    if means.ndim != 2 or 0 in means.shape or not np.isfinite(means).all():
        raise ModelError(f"means of shape {means.shape} are not finite numbers of one or more shards")
    return means
