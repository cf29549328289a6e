"""Sums that a head is solved from, as exact integers: how they travel, how they add up, what they must look like.

    statistics   upper triangle of ΣΦᵀΦ of the training pictures, then of the validation pictures
    class_sums   ΣΦᵀY, f×K, of both likewise
    examples     pictures of each class, of both likewise, exact

The whole layout of such a round is in words of 64 bits. Rows of Φ are features of length 1, so each sum over n pictures
lies in [-n, n]; it is carried at 2^32 steps per unit, rounded to the nearest, and n is limited so that N_max·n <= 2^29,
which leaves a factor of four below half the ring. The head ``prototypes`` needs no ``statistics``, and learns from
training and validation pictures alike: it has one part each. In a round of changes, each device's numbers are the
differences to what it sent before; they lie in the same range, and examples and supporters may be negative. Beside them
stands ``members``, by how much the device changes the number of those that are counted: 1, 0 or -1.

There is no clip to hold statistics against, but they are sums over pictures, and who sends others than those of
pictures cannot send just anything. With n pictures, nₖ of class k, G = ΣΦᵀΦ and bₖ the column of ΣΦᵀY:

1. Features have length 1, so ‖bₖ‖ <= nₖ: in L2, as a whole. (That no coordinate is above nₖ says √f times less.)
2. For the same reason the diagonal of G adds up to n at most.
3. The scatter of the pictures around the means of their classes, G - Σ bₖbₖᵀ/nₖ, is positive semidefinite, and so are
   G and what it says of products, |Gᵢⱼ|² <= GᵢᵢGⱼⱼ; that is asked by a Cholesky factorisation.

A sum that breaks one of them is not used. Honest sums pass, for what they can be off by is bounded. N roundings to the
nearest move a number by N/2 steps of 2^-32 at most, hence bₖ by r = √f·N·2^-33, and G, in its norm, and its trace, by
f·N·2^-33. This program sums in float64; another may in float32, where sums are off by γ of the sum of all lengths at
most, γ < 1.01·2^-17 for blocks of 128 pictures (Higham 2002, section 3.1; rows have length 1 but for 2^-22): bₖ by
γ·nₖ, G by γ·n. Where bₖ is off by d, bₖbₖᵀ/nₖ is
by (2‖bₖ‖d + d²)/nₖ, which for d <= r + γ·nₖ and r <= 1/4 (2^23 roundings of 2^16 features) is at most 2r + r² + 3γ·nₖ.
Over K classes, and with G's own error, the scatter is off by at most

    f·N·2^-33 + K·r·(2 + r) + 4γ·n   in its norm,   and 4γ < 0.51·2^-14.

With f·N·2^-33 + K·r·(2 + r) + 2^-14·n on its diagonal it has a factorisation: what is more there than needed, 2^-15·n,
is far above the error of a factorisation in float64, below f²·2^-52·n even at the worst (Higham 2002, theorem 10.7).

What passes is what *some* n pictures could sum to. That bounds the sum: each class's mean stays within length 1,
whatever a cheat adds. It does not bound the cheat: what honest pictures leave of these bounds is its to use, above
all if it knows what they sum to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fanlight.core import quantise, triangle
from fanlight.core.ring import LONG_BITS
from fanlight.core.segments import Segment, slices
from fanlight.errors import ModelError
from fanlight.protocol.plan import Kind, Plan

STEPS: Final = 1 << 32
"""Steps per unit."""
MOST_PICTURES_OF_ALL: Final = 1 << 29
"""Most N_max·n_max."""
_FLOAT32: Final = 2.0**-16
"""Relative error of a class's sum and of the trace that float32 may bring, and more: γ above is half of it."""
_FLOAT32_SCATTER: Final = 2.0**-14
"""The same of the scatter: 4γ, and more."""

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Of one or more devices, in steps of 2^-32 but for ``examples``; flat, training pictures first, if there are two.

    Attributes:
        gram: (p·f(f+1)/2,) upper triangles of ΣΦᵀΦ, row by row; empty if the head needs none.
        class_sums: (p·f·K,) ΣΦᵀY, feature by feature.
        examples: (p·K,) pictures of each class.
    """

    gram: Integers
    class_sums: Integers
    examples: Integers

    @classmethod
    def rounded(cls, *parts: tuple[Reals, Reals, Integers]) -> Self:
        """From the sums of one device: of each part the triangle or nothing, ΣΦᵀY and the counts.

        Raises:
            ModelError: a number is not finite, or of more pictures than any round lets count.
        """
        grams, class_sums, examples = (np.concatenate([np.ravel(part[i]) for part in parts]) for i in range(3))
        bound = MOST_PICTURES_OF_ALL * STEPS
        steps = [quantise.to_nearest(reals, Fraction(STEPS), -bound, bound) for reals in (grams, class_sums)]
        return cls(steps[0], steps[1], examples)

    @property
    def parts(self) -> list[tuple[Reals, Reals, Integers]]:
        """As numbers: of each part the triangle (f(f+1)/2,) or (0,), ΣΦᵀY (f, K) and the counts (K,)."""
        count = 2 if self.gram.size else 1
        examples = self.examples.reshape(count, -1)
        grams = self.gram.reshape(count, -1) / STEPS
        class_sums = self.class_sums.reshape(count, -1, examples.shape[1]) / STEPS
        return list(zip(grams, class_sums, examples, strict=True))

    def __add__(self, other: Sums) -> Sums:
        """Both together; errors as in ``_check_same``."""
        self._check_same(other)
        return Sums(self.gram + other.gram, self.class_sums + other.class_sums, self.examples + other.examples)

    def __sub__(self, other: Sums) -> Sums:
        """What is left without the other."""
        self._check_same(other)
        return Sums(self.gram - other.gram, self.class_sums - other.class_sums, self.examples - other.examples)

    @property
    def pictures(self) -> int:
        """How many in all."""
        return int(self.examples.sum())

    @property
    def is_empty(self) -> bool:
        """Is every number zero?"""
        return not (self.gram.any() or self.class_sums.any() or self.examples.any())

    def without(self) -> Sums:
        """The same of no pictures: zeros."""
        return self - self

    def _check_same(self, other: Sums) -> None:
        shapes = [(s.gram.shape, s.class_sums.shape, s.examples.shape) for s in (self, other)]
        if shapes[0] != shapes[1]:
            raise ModelError("sums of different tasks cannot be added")


def layout(plan: Plan, n_max: int, most_pictures: int, counts: Sequence[Segment]) -> tuple[Segment, ...]:
    """The segments of a round of statistics or changes; ``counts`` are those of its measurements, if any."""
    k, parts, most = len(plan.classes), plan.parts_of_sums, min(most_pictures, MOST_PICTURES_OF_ALL // n_max)
    fewest = 0 if plan.kind == Kind.STATISTICS else -1
    bound = most * STEPS
    gram = Segment("statistics", parts * plan.triangle, LONG_BITS, STEPS, 1, -bound, bound, "nearest")
    return (
        *((gram,) if plan.triangle else ()),
        Segment("class_sums", parts * plan.features * k, LONG_BITS, STEPS, 1, -bound, bound, "nearest"),
        Segment("examples", parts * k, LONG_BITS, 1, 1, fewest * most, most, "exact"),
        *(replace(segment, bits=LONG_BITS) for segment in counts),
        Segment("supporters", k, LONG_BITS, 1, 1, fewest, 1, "exact"),
        *((Segment("members", 1, LONG_BITS, 1, 1, -1, 1, "exact"),) if plan.kind == Kind.CHANGES else ()),
    )


def part_of(segment: Segment, sums: Sums) -> Integers:
    """What a device sends in one of these segments. It is not clamped: what the parts say must stay true together.

    Raises:
        ModelError: it is of more pictures than the round lets count.
    """
    part = {"statistics": sums.gram, "class_sums": sums.class_sums, "examples": sums.examples}[segment.kind]
    if part.size and not segment.lo <= int(part.min()) <= int(part.max()) <= segment.hi:
        raise ModelError(f"the part {segment.kind!r} is of more pictures than the round lets count")
    return part


def read(segments: Sequence[Segment], total: NDArray[Any]) -> Sums | None:
    """The sums in a centred sum of a round's vectors, (d,) int32 or int64; None if the round has none."""
    places = slices(segments)
    if "examples" not in places:
        return None
    gram = total[places["statistics"]] if "statistics" in places else np.zeros(0, np.int64)
    parts = (gram, total[places["class_sums"]], total[places["examples"]])
    return Sums(*(part.astype(np.int64, copy=False) for part in parts))


def why_impossible(sums: Sums, count: int) -> str | None:
    """Why these cannot be sums over pictures (a slug); None if they can.

    Args:
        sums: of all devices; an array of it is as long as its plan says.
        count: most roundings in a coordinate: as many as there are devices whose sums they are.
    """
    if (sums.examples < 0).any():
        return "examples-negative"
    if sums.pictures == 0:
        return "no-pictures"
    for gram, class_sums, examples in sums.parts:
        rounding = math.sqrt(len(class_sums)) * count / (2 * STEPS)
        if (np.linalg.norm(class_sums, axis=0) > examples * (1 + _FLOAT32) + rounding).any():
            return "class-sums-too-large"
        if gram.size and not _has_scatter(gram, class_sums, examples, count):
            return "statistics-impossible"
    return None


def _has_scatter(gram: Reals, class_sums: Reals, examples: Integers, count: int) -> bool:
    """Can it be ΣΦᵀΦ of pictures with these sums of classes? For the tolerance see above."""
    (features, classes), pictures = class_sums.shape, int(examples.sum())
    matrix = np.empty((features, features))
    triangle.spread(gram, matrix)
    rounding = features * count / (2 * STEPS)
    if matrix.trace() > pictures * (1 + _FLOAT32) + rounding:
        return False
    means = class_sums / np.sqrt(np.maximum(examples, 1))
    matrix -= means @ means.T
    of_class = rounding / math.sqrt(features)
    tolerance = rounding + classes * of_class * (2 + of_class) + _FLOAT32_SCATTER * pictures
    matrix[np.diag_indices_from(matrix)] += tolerance
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
