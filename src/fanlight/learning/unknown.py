"""Is this something that a home has pictures of? A threshold for a wanted rate of strangers that are taken for known.

*Score.* Ridge regression of the home's own pictures, one column a class, on features of length 1; a picture's score is
its highest. Not the scores of the federation's head: that has learned from pictures of the very classes that play the
strangers below, and scores them lower than true strangers. (On digits, Fashion-MNIST and stamps a threshold for 5 %
by the federation's highest score let 25 to 50 % of true strangers pass; this one, 4 to 10 %.)

*Strangers.* Each class plays the stranger once: its pictures are scored by the ridge of all others, which has never
seen it. Own names that are kinds of a class go with it.

*Threshold.* Of n strangers' scores it is the r-th lowest, r = ⌈(n + 1)(1 - ε)⌉: whoever scores higher is known. If the
next stranger is like these (exchangeable), it passes with a probability of at most (n + 1 - r)/(n + 1) ≤ ε (conformal
prediction: Vovk, Gammerman and Shafer 2005, section 2). With n + 1 < 1/ε no threshold can keep that; then r = n, and
what is promised is 1/(n + 1).

*How sure.* That holds on the mean over homes. For one home's threshold the rate is drawn from Beta(n + 1 - r, r) (Vovk
2012, "Conditional validity of inductive conformal predictors", section 2); its 95 % quantile is what it will hardly
exceed. Pictures of one class are more alike than those of several, so with few classes both are too sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError, SettingsError
from fanlight.learning.analytic import CONSTANT
from fanlight.learning.heads import Labels, SoftmaxHead, checked_head, unit
from fanlight.learning.own_classes import Doubles, left_out, rarity

STRENGTH: Final = 0.5
"""λ: strangers and known pictures are told apart slightly better by .5 than by .1."""
SURE: Final = 0.95
_STEPS: Final = 60
"""Halvings of an interval: more than a float64 has digits."""


@dataclass(frozen=True)
class Familiarity:
    """How a home's pictures score.

    Attributes:
        head: for features of length √f, as solved heads read them; its highest logit is the score.
        known: (n,) of each picture, by the ridge of all others that do not look like it.
        strangers: (n,) of each picture, by the ridge of all other classes.
    """

    head: SoftmaxHead
    known: Doubles
    strangers: Doubles


@dataclass(frozen=True)
class Threshold:
    """From where on something counts as known.

    Attributes:
        score: whatever scores higher is known.
        wanted: ε, the rate that was asked for.
        promised: the rate that can be promised, of the next stranger; more than ``wanted`` with few pictures.
        worst: what this home's rate is at most, with a certainty of 95 %.
        strangers: n.
    """

    score: float
    wanted: float
    promised: float
    worst: float
    strangers: int


def familiarity(x: NDArray[Any], y: Labels, family: Labels, groups: Labels | None = None) -> Familiarity:
    """Score a home's pictures.

    Args:
        x: (n, f) features.
        y: (n,) labels, 0 or more.
        family: (n,) what plays the stranger together.
        groups: (n,) as of ``own_classes.Home``.

    Raises:
        DataError: fewer than two families: nobody can play the stranger.
    """
    if np.unique(family).size < 2:
        raise DataError("strangers take pictures of two different things at least")
    phi = np.hstack([unit(x).astype(np.float64), np.full((len(x), 1), CONSTANT)])
    names, places = np.unique(y, return_inverse=True)
    gram = phi @ phi.T
    alone = np.arange(len(x)) if groups is None else groups
    shares, known = _ridge(gram, places, names.size, alone)
    strangers = np.empty(len(x))
    for stranger in np.unique(family):
        there = family != stranger
        kept, at = np.unique(places[there], return_inverse=True)
        others, _ = _ridge(gram[np.ix_(there, there)], at, kept.size, alone[there])
        strangers[~there] = (gram[np.ix_(~there, there)] @ others).max(axis=1)
    solution = phi.T @ shares
    weight, bias = solution[:-1] / math.sqrt(x.shape[1]), solution[-1] * CONSTANT
    return Familiarity(checked_head(weight, bias), known.max(axis=1), strangers)


def threshold(strangers: Doubles, wanted: float) -> Threshold:
    """The threshold for a wanted rate of strangers that pass.

    Args:
        strangers: (n,) scores, n at least 1.
        wanted: ε, above 0 and below 1.

    Raises:
        SettingsError: ε is out of range. DataError: there are no scores.
    """
    if not 0 < wanted < 1:
        raise SettingsError(f"a rate lies between 0 and 1, not {wanted}")
    n = strangers.size
    if n == 0:
        raise DataError("there are no strangers' scores")
    passing = max(1, math.floor((n + 1) * wanted * (1 + 1e-12)))  # n + 1 - r, against rounding in the product
    passing = min(passing, n)
    score = float(np.sort(strangers)[n - passing])
    return Threshold(score, wanted, passing / (n + 1), beta_quantile(SURE, passing, n + 1 - passing), n)


def beta_quantile(probability: float, a: int, b: int) -> float:
    """The quantile of Beta(a, b), for positive integers: P(Beta ≤ x) is that of a successes or more in a + b - 1."""
    trials = a + b - 1
    k = np.arange(a, trials + 1)
    ways = np.array([math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in k])
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        reached = float(np.exp(ways + k * math.log(middle) + (trials - k) * math.log1p(-middle)).sum())
        low, high = (middle, high) if reached < probability else (low, middle)
    return (low + high) / 2


def _ridge(gram: Doubles, y: NDArray[np.intp], classes: int, groups: Labels) -> tuple[Doubles, Doubles]:
    """Shares (n, classes), and scores of each picture by the ridge of all other groups; see ``own_classes``."""
    rare = rarity(y, classes)
    wanted = np.eye(classes)[y] * np.maximum(rare, 1.0)
    inverse = np.linalg.inv(gram + np.diag(STRENGTH / rare[y])).astype(np.float64, copy=False)
    shares = inverse @ wanted
    return shares, wanted - left_out(inverse, shares, groups)
