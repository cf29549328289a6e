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

There is no clip and no norm to hold statistics against, but they are sums of squares, and who sends others than those
of pictures cannot send just anything:

1. Features have length 1, so the diagonal of ΣΦᵀΦ adds up to the number of pictures at most.
2. It is positive semidefinite; that is asked by a Cholesky factorisation, and so is |Gᵢⱼ|² <= Gᵢᵢ·Gⱼⱼ.
3. A class's sum over n pictures is nowhere larger than n.

A sum that breaks one of them is not used. What passes is bounded by the number of pictures that is said, of which one
device can say at most W_max: that much a cheat can move, as much as an honest device with so many pictures.
"""

from __future__ import annotations

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
"""Relative error that devices' sums may have from float32, above what a block of 128 pictures brings (2^-17)."""

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
        count: most roundings in a coordinate: devices, and those of earlier rounds.
    """
    if (sums.examples < 0).any():
        return "examples-negative"
    if sums.pictures == 0:
        return "no-pictures"
    parts = 2 if sums.gram.size else 1
    examples = sums.examples.reshape(parts, 1, -1)
    class_sums = np.abs(sums.class_sums.reshape(parts, -1, examples.shape[2]))
    if (class_sums > examples * (STEPS * (1 + _FLOAT32)) + count / 2).any():
        return "class-sums-too-large"
    pictures = examples.sum(axis=(1, 2)).tolist()
    if sums.gram.size and not all(map(_is_gram, sums.gram.reshape(parts, -1), pictures, (count,) * parts)):
        return "statistics-impossible"
    return None


def _is_gram(gram: Integers, pictures: int, count: int) -> bool:
    """Can it be ΣΦᵀΦ of so many pictures, but for rounding?"""
    matrix = np.empty((triangle.rows_of(gram.size),) * 2)
    triangle.spread(gram / STEPS, matrix)
    diagonal = matrix.diagonal()
    error = len(matrix) * count / (2 * STEPS) + _FLOAT32 * pictures  # of the trace, and of the matrix in its norm
    if diagonal.sum() > pictures + error:
        return False
    matrix[np.diag_indices_from(matrix)] += 2 * error
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
