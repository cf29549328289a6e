"""A home's own classes: names that only it knows, put beside the task's classes on top of the global head.

The head of n pictures of the home, K classes of the task and P own names is a ridge regression *towards the global
head*: of all heads whose scores of these pictures are what they should be, nearly, it is the one that differs least.
With z(x) the global head's K scores of a picture, b for each own name, and e what is to be added:

    minimise  Σᵢ wᵢ ‖eᵢ - Δᵀφᵢ‖² + λ‖Δ‖²        so  Δ = Φᵀα,  α = (ΦΦᵀ + λ diag(1/w))⁻¹ e

(ridge in the pictures' own space, Saunders, Gammerman and Vovk 1998), where φ is a picture's features as the
global head reads them, over √f, and a constant behind them. What is to be added:

1. nothing to a picture of one of the task's classes, even if the global head is wrong about it: what all devices
   learned stays, and without own names the head *is* the global one, bit for bit;
2. to a picture of an own name, what brings each of the task's scores down to b, and the name's own up from b to a.

b and a are what the global head gives the home's pictures: the mean of the scores that are not its highest, and of the
highest. A name with fewer pictures than the mean of all is to score higher by the root of how few they are, as in
``analytic.balance``; w is that root too. A global head that gives all classes the same score knows nothing, and would
lose every picture to the own names: then a is ``SHARPNESS`` above b, and the task's classes are taught like own names.

What the head says of a picture when it is trained from all others (leave one out) costs no second training: it is
z + e - α / diag(A⁻¹), where A is the matrix above (Allen 1974, PRESS; Cawley and Talbot 2003 for kernels). Pictures
that look alike are left out together, for the others would give them away: of their block g, (A⁻¹ of g)⁻¹ α is taken
off. All figures that a home reads come from there. The global head may have learned from some of the home's pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError
from fanlight.learning.analytic import SHARPNESS
from fanlight.learning.heads import Labels, checked_examples, checked_head, zero_head
from fanlight.learning.model_file import HeadModel

Doubles = NDArray[np.float64]

STRENGTH: Final = 0.1
"""λ. Of .03, .1, .3 and 1 the best or as good for 3, 6 and 20 pictures on digits, Fashion-MNIST and stamps."""
CONSTANT: Final = 0.1
"""The constant behind the features, as in ``analytic``."""


@dataclass(frozen=True)
class Solved:
    """A head in the pictures' own space.

    Attributes:
        shares: (n, K + P), α.
        base: b.
        held_out: (n, K + P), of each picture the scores by the head of all others.
    """

    shares: Doubles
    base: float
    held_out: Doubles


@dataclass(frozen=True)
class Home:
    """The pictures of a home, as the global head sees them.

    Attributes:
        model: the global head.
        names: P own names, none of them a class of the task's; each has pictures.
        phi: (n, f) float64, what ``read`` gives over √f.
        logits: (n, K) float64, z.
        y: (n,) labels: 0 to K - 1 are the task's, K to K + P - 1 the own names.
        groups: (n,) numbers, equal of those that are left out together.
    """

    model: HeadModel
    names: tuple[str, ...]
    phi: Doubles
    logits: Doubles
    y: Labels
    groups: Labels

    @classmethod
    def of(
        cls,
        model: HeadModel,
        names: Sequence[str],
        x: NDArray[Any],
        y: NDArray[Any],
        groups: Labels | None = None,
    ) -> Home:
        """From (n, f) features as the backbone gives them, and (n,) labels; without ``groups`` each picture is alone.

        Raises:
            DataError: shapes, labels or numbers that cannot be used; a name without pictures, or that is a class.
        """
        classes = (*model.classes, *names)
        if len(set(classes)) != len(classes):
            raise DataError("an own name is a class of the task's, or stands there twice")
        features, labels = checked_examples("a home's pictures", x, y, zero_head(len(model.weight), len(classes)))
        counts = np.bincount(labels, minlength=len(classes))
        if not counts[len(model.classes) :].all():
            raise DataError("an own name has no pictures")
        read = model.read(features)
        phi = read.astype(np.float64) / math.sqrt(read.shape[1])
        alone = np.arange(labels.size) if groups is None else groups
        return cls(model, tuple(names), phi, model.head.logits(read).astype(np.float64), labels, alone)

    @cached_property
    def gram(self) -> Doubles:
        """(n, n) inner products of the pictures, with the constant."""
        products: Doubles = self.phi @ self.phi.T + CONSTANT**2
        return products

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's, then the own names."""
        return (*self.model.classes, *self.names)

    def solve(self, some: NDArray[np.intp] | None = None) -> Solved:
        """The head of the pictures, or of ``some`` of them by their places."""
        chosen = np.arange(self.y.size) if some is None else some
        z, y, classes = self.logits[chosen], self.y[chosen], len(self.classes)
        if not self.names or y.size == 0:
            return Solved(np.zeros((y.size, classes)), 0.0, self._start(z, 0.0))
        task = y < len(self.model.classes)
        highest, base = levels(z[task] if task.any() else z)
        taught = ~task if highest > base else np.ones(y.size, np.bool_)
        rise = highest - base if highest > base else SHARPNESS
        rare = rarity(y, classes)
        wanted = np.zeros((y.size, classes))
        wanted[taught, : len(self.model.classes)] = base - z[taught]
        wanted[taught, y[taught]] = rise * np.maximum(rare[y[taught]], 1.0)
        regular = self.gram[np.ix_(chosen, chosen)] + np.diag(STRENGTH / rare[y])
        inverse = np.linalg.inv(regular).astype(np.float64, copy=False)
        shares = inverse @ wanted
        return Solved(shares, base, self._start(z, base) + wanted - left_out(inverse, shares, self.groups[chosen]))

    def scores(self, solved: Solved, some: NDArray[np.intp], of: NDArray[np.intp]) -> Doubles:
        """(m, K + P) scores of the pictures ``of``, by the head of ``some`` others; both by their places."""
        found: Doubles = self._start(self.logits[of], solved.base) + self.gram[np.ix_(of, some)] @ solved.shares
        return found

    def head(self, solved: Solved) -> HeadModel:
        """The head of all pictures as a model with the task's classes and the own names; the global one without any."""
        if not self.names:
            return self.model
        added = self.phi.T @ solved.shares / math.sqrt(self.phi.shape[1])
        weight = np.hstack([self.model.weight, np.zeros((len(added), len(self.names)))]) + added
        bias = np.concatenate([self.model.bias, np.full(len(self.names), solved.base)])
        head = checked_head(weight, bias + CONSTANT**2 * solved.shares.sum(axis=0))
        return replace(self.model, classes=self.classes, weight=head.weight, bias=head.bias, control=None)

    def _start(self, logits: Doubles, base: float) -> Doubles:
        return np.hstack([logits, np.full((len(logits), len(self.names)), base)])


def levels(logits: Doubles) -> tuple[float, float]:
    """The mean of each row's highest score, and of its others.

    Args:
        logits: (n, K), n at least 1, K at least 2.
    """
    highest = logits.max(axis=1)
    others = (logits.sum(axis=1) - highest) / (logits.shape[1] - 1)
    return float(highest.mean()), float(others.mean())


def left_out(inverse: Doubles, shares: Doubles, groups: Labels) -> Doubles:
    """(n, C) by how much a ridge misses what is wanted of each picture when its group is left out.

    Args:
        inverse: (n, n), of the pictures' inner products and the ridge.
        shares: (n, C), the ridge of all pictures.
        groups: (n,) numbers, equal of those that are left out together.
    """
    missed: Doubles = shares / np.diag(inverse)[:, None]
    numbers, counts = np.unique(groups, return_counts=True)
    for number in numbers[counts > 1]:
        group = np.flatnonzero(groups == number)
        missed[group] = np.linalg.solve(inverse[np.ix_(group, group)], shares[group])
    return missed


def rarity(y: Labels, classes: int) -> Doubles:
    """(classes,) the root of the mean number of pictures over each one's; 1 of those without any."""
    counts = np.bincount(y, minlength=classes)
    mean = y.size / max(1, int((counts > 0).sum()))
    roots: Doubles = np.where(counts > 0, np.sqrt(mean / np.maximum(counts, 1)), 1.0)
    return roots
