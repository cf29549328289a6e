"""Is this something that a home has pictures of? A threshold for a wanted rate of strangers that are taken for known.

*Score* (``familiar``). A Gaussian process of the home's own pictures, a column a class: with K the inner products of
their φ, Λ = λ diag(1/w), w the root of how rare each one's class is, and A = K + Λ, a picture with inner products k to
them has the mean kᵀA⁻¹Y (ridge regression) and the variance v = φᵀφ - kᵀA⁻¹k. What it says of a picture when its group
is left out follows from A⁻¹ alone, the variance too: its block of A⁻¹, inverted, less Λ (Rasmussen and Williams 2006,
equations 5.10 to 5.12).

Not the scores of the federation's head: that has learned from pictures of the very classes that play the strangers
below, and scores them lower than true strangers. (On digits, Fashion-MNIST and stamps a threshold for 5 % by the
federation's highest score let 25 to 50 % of true strangers pass.) And not the mean alone: on digits, at 5 %,
it was sure of a third fewer of the task's pictures, and let twice as many strangers pass. Distances to neighbours (Sun
et al. 2204.06507), Mahalanobis and relative Mahalanobis distances (Lee et al. 1807.03888, Ren et al. 2106.09022),
energy (Liu et al. 2010.03759) and margins were better for own names or for the task's classes, never for both.

*Strangers.* Each class plays the stranger once: its pictures are scored by the process of all others, which has never
seen it. Own names that are kinds of a class go with it.

*Threshold.* Of n strangers' scores it is the r-th lowest, r = ⌈(n + 1)(1 - ε)⌉: whoever scores higher is known. If the
next stranger is like these (exchangeable), it passes with a probability of at most (n + 1 - r)/(n + 1) ≤ ε (conformal
prediction: Vovk, Gammerman and Shafer 2005, section 2). With n + 1 < 1/ε no threshold can keep that; then r = n, and
what is promised is 1/(n + 1).

*Floor.* The same, from the other side, for each class: what scores lower than its own pictures do, of which 5 % may, is
no such thing. With n pictures of it the promise is max(5 %, 1/(n + 1)) that a true one is taken for none. Who neither
passes the threshold nor falls below the floor may be either, and that is what is said (a conformal prediction set with
both: Vovk et al., section 4.6, label-conditional).

*How sure.* The threshold's rate holds on the mean over homes. For one home's threshold it is drawn from
Beta(n + 1 - r, r) (Vovk 2012, "Conditional validity of inductive conformal predictors", section 2); its 95 % quantile
is what it will hardly exceed. Pictures of one class are more alike than those of several, so with few classes both are
too sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError, SettingsError
from fanlight.learning.familiar import SQUARED_LENGTH, Familiar, with_constant
from fanlight.learning.heads import Labels
from fanlight.learning.own_classes import Doubles, left_out, rarity

STRENGTH: Final = 0.1
"""λ. From .03 to .3 little changes."""
MISSED: Final = 0.05
"""Share of a class's own pictures that may score below its floor."""
SURE: Final = 0.95
_STEPS: Final = 60
"""Halvings of an interval: more than a float64 has digits."""


@dataclass(frozen=True)
class Familiarity:
    """How a home's pictures score.

    Attributes:
        familiar: scores any picture.
        known: (n,) of each picture, by the process of all others that do not look like it.
        strangers: (n,) of each picture, by the process of all other classes.
    """

    familiar: Familiar
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
    phi = with_constant(x)
    labels, places = np.unique(y, return_inverse=True)
    gram = phi @ phi.T
    process = _Process.of(gram, places, labels.size)
    known = process.held_out(np.arange(len(x)) if groups is None else groups)
    strangers = np.empty(len(x))
    for stranger in np.unique(family):
        there = family != stranger
        kept, at = np.unique(places[there], return_inverse=True)
        others = _Process.of(gram[np.ix_(there, there)], at, kept.size)
        strangers[~there] = others.scores(gram[np.ix_(~there, there)])
    weight = (phi.T @ process.shares).astype(np.float32)
    spread = np.linalg.solve(np.linalg.cholesky(process.regular), phi).T.astype(np.float32)
    floors = np.array([floor(known[places == place]) for place in range(labels.size)], np.float32)
    return Familiarity(Familiar(labels.astype(np.int64), weight, spread, floors), known, strangers)


def floor(known: Doubles) -> float:
    """What a picture of a class scores at least, but for one in twenty, or for one of n + 1.

    Args:
        known: (n,) scores of the class's pictures, each left out; of none nothing is known, so nothing scores enough.
    """
    if known.size == 0:
        return math.inf
    return float(np.sort(known)[max(1, math.floor((known.size + 1) * MISSED)) - 1])


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


@dataclass(frozen=True)
class _Process:
    """A Gaussian process in the pictures' own space.

    Attributes:
        noise: (n,) the diagonal of Λ.
        regular, inverse: (n, n), A and A⁻¹.
        wanted, shares: (n, C), Y and A⁻¹Y.
    """

    noise: Doubles
    regular: Doubles
    inverse: Doubles
    wanted: Doubles
    shares: Doubles

    @classmethod
    def of(cls, gram: Doubles, y: NDArray[np.intp], classes: int) -> _Process:
        """From (n, n) inner products and (n,) labels, each of which has pictures."""
        rare = rarity(y, classes)
        noise, wanted = STRENGTH / rare[y], np.eye(classes)[y] * np.maximum(rare, 1.0)
        regular = gram + np.diag(noise)
        inverse = np.linalg.inv(regular).astype(np.float64, copy=False)
        return cls(noise, regular, inverse, wanted, inverse @ wanted)

    def scores(self, products: Doubles) -> Doubles:
        """(m, n) inner products with the pictures to (m,) scores."""
        explained = np.einsum("mn,mn->m", products @ self.inverse, products)
        found: Doubles = (products @ self.shares).max(axis=1) - (SQUARED_LENGTH - explained)
        return found

    def held_out(self, groups: Labels) -> Doubles:
        """(n,) scores of each picture by the process of all other groups."""
        mean = self.wanted - left_out(self.inverse, self.shares, groups)
        variance = 1 / np.diag(self.inverse) - self.noise
        numbers, counts = np.unique(groups, return_counts=True)
        for number in numbers[counts > 1]:
            group = np.flatnonzero(groups == number)
            variance[group] = np.diag(np.linalg.inv(self.inverse[np.ix_(group, group)])) - self.noise[group]
        found: Doubles = mean.max(axis=1) - variance
        return found
