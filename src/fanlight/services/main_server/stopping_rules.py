"""When training has stopped paying, by how versions did on the devices' held-out pictures: pure rules over counts.

Accuracy alone says whether a version is better: loss may go on falling for ever where no answer changes. Of versions
with the same accuracy the one with the least loss is the best. Other devices in the sum mean other pictures, so figures
of small cohorts move also while nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

_UNKNOWN: Final = Fraction(-1)


@dataclass(frozen=True)
class Score:
    """How one version did.

    Attributes:
        version: its number.
        correct, total: held-out pictures, from a released sum; without any the version is better than none.
        loss: mean loss a picture; None without pictures.
    """

    version: int
    correct: int
    total: int
    loss: float | None = None

    @property
    def accuracy(self) -> Fraction:
        """Share of the pictures named rightly, exactly; -1 without pictures."""
        return Fraction(self.correct, self.total) if self.total else _UNKNOWN


def best(scores: Sequence[Score]) -> Score:
    """The one with the highest accuracy; of several, the least loss, then the newest.

    Raises:
        ValueError: there are none.
    """
    return max(
        scores, key=lambda score: (score.accuracy, -math.inf if score.loss is None else -score.loss, score.version)
    )


def rounds_without_better(scores: Sequence[Score]) -> int:
    """How many versions, oldest first, have come since the first with the highest accuracy."""
    if not scores:
        return 0
    accuracies = [score.accuracy for score in scores]
    return len(scores) - 1 - accuracies.index(max(accuracies))


def has_dropped(scores: Sequence[Score], points: int) -> bool:
    """Is the newest, the last one, more than ``points`` percentage points below the best one before it?"""
    if len(scores) < 2 or not scores[-1].total:
        return False
    return 100 * (best(scores[:-1]).accuracy - scores[-1].accuracy) > points
