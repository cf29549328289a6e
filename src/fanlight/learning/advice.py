"""What would help a home's head most: more pictures of what; and what cannot be told apart at all.

*More pictures.* The half of a class's pictures is taken away, a few times at random, those that look alike together; by
how much the balanced error
(the mean over classes of the share that is named wrongly, each picture by the head of others) is then higher, is what
that half was worth. Errors fall about like c/√n (Cortes et al. 1993, "Learning curves: asymptotic values and rate of
convergence"), so from the worth D of the last half of n pictures, c/√n = D/(√2 - 1), and m more are worth
D/(√2 - 1) · (1 - √(n/(n + m))).

*Told apart.* Of two classes, each picture is named after the one of the two that scores higher. Whether that has
anything to do with what the pictures show is asked by Fisher's exact test (1935) of the table (shows, named),
one-sided. Where chance would do as well in more than one of twenty cases, the two cannot be told apart by these
features. Of so few pictures that even without a mistake chance could not be ruled out, nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fanlight.core.randomness import Keystream
from fanlight.learning.heads import Labels
from fanlight.learning.own_classes import Doubles, Home, Solved

MORE: Final = 6
"""So many more pictures are asked for."""
DRAWS: Final = 6
"""Halves of a class that are taken away."""
LEVEL: Final = 0.05
"""Chance does as well more often than that: it may be chance."""


@dataclass(frozen=True)
class Worth:
    """What ``MORE`` pictures of the class ``label`` are worth: so much less balanced error, a fraction from 0."""

    label: int
    gain: float


@dataclass(frozen=True)
class Pair:
    """Two classes that may be one to the features: ``right`` of ``total`` pictures are named after the right one.

    ``chance`` is the probability that guessing names as many, or more.
    """

    first: int
    second: int
    right: int
    total: int
    chance: float


def worths(
    home: Home,
    solved: Solved,
    asked: Sequence[int],
    draw: Keystream,
    on_progress: Callable[[float], object] = lambda _fraction: None,
) -> tuple[Worth, ...]:
    """What more pictures are worth, of each class ``asked`` for that has two or more groups, the most first.

    Args:
        home, solved: the pictures, and the head of all of them.
        asked: labels.
        draw: chooses the halves.
        on_progress: called with the fraction that is done.
    """
    counts = np.bincount(home.y, minlength=len(home.classes))
    now = _balanced_error(solved.held_out, home.y)
    labels = [label for label in asked if np.unique(home.groups[home.y == label]).size >= 2]
    found = []
    for number, label in enumerate(labels):
        on_progress(number / len(labels))
        without = [_error_without_half(home, label, draw) for _ in range(DRAWS)]
        half_worth = max(0.0, float(np.mean(without)) - now)
        share = 1 - math.sqrt(counts[label] / (counts[label] + MORE))
        found.append(Worth(label, half_worth / (math.sqrt(2) - 1) * share))
    return tuple(sorted(found, key=lambda worth: (-worth.gain, counts[worth.label], worth.label)))


def _error_without_half(home: Home, label: int, draw: Keystream) -> float:
    mine = home.y == label
    groups = np.unique(home.groups[mine])
    chosen = groups[draw.permutation(groups.size)[: groups.size // 2]]
    gone = np.flatnonzero(mine & np.isin(home.groups, chosen))
    kept = np.setdiff1d(np.arange(home.y.size), gone)
    solved = home.solve(kept)
    scores = np.empty((home.y.size, len(home.classes)))
    scores[kept], scores[gone] = solved.held_out, home.scores(solved, kept, gone)
    return _balanced_error(scores, home.y)


def _balanced_error(scores: Doubles, y: Labels) -> float:
    wrong = scores.argmax(axis=1) != y
    return float(np.mean([wrong[y == label].mean() for label in np.unique(y)]))


def indistinct(scores: Doubles, y: Labels) -> tuple[Pair, ...]:
    """The pairs of classes that cannot be told apart, those that look most like chance first.

    Args:
        scores: (n, C), of each picture by the head of others.
        y: (n,) labels.
    """
    labels = np.unique(y)
    pairs = (_pair(scores, y, int(a), int(b)) for at, a in enumerate(labels) for b in labels[at + 1 :])
    return tuple(sorted((pair for pair in pairs if pair), key=lambda pair: -pair.chance))


def _pair(scores: Doubles, y: Labels, first: int, second: int) -> Pair | None:
    """The pair, if it may be chance; None also where there are too few pictures to say."""
    ahead = scores[:, first] > scores[:, second]
    of_first, of_second = y == first, y == second
    n, m = int(of_first.sum()), int(of_second.sum())
    right, taken = int(ahead[of_first].sum()), int(ahead[of_second].sum())
    chance = fisher(right, n, taken, m)
    if chance <= LEVEL or 1 / math.comb(n + m, n) > LEVEL:
        return None
    return Pair(first, second, right + m - taken, n + m, chance)


def fisher(right: int, n: int, taken: int, m: int) -> float:
    """The probability that ``right`` or more of the n are among right + taken that are drawn from n + m at random."""
    drawn = right + taken
    ways = sum(math.comb(n, k) * math.comb(m, drawn - k) for k in range(right, min(n, drawn) + 1))
    return ways / math.comb(n + m, drawn)
