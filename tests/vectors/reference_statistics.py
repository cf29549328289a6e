"""Rounds of statistics once more, for the vectors: written from the protocol's text alone, on Python's integers.

Like ``reference`` it imports nothing of Fanlight. Products, sums and the ridge are fractions, so nothing is rounded but
what the protocol rounds; pictures are given that float32 has exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from tests.vectors.reference import centred, keystream

STEPS = 1 << 32
CONSTANT = Fraction(1, 10)
STRENGTHS = tuple(Fraction(text) for text in ("0.003", "0.01", "0.03", "0.1", "0.3", "1", "3"))
Matrix = list[list[Fraction]]
Picture = Sequence[float]
Part = tuple[Sequence[Picture], Sequence[int]]
"""Features of length 1, and labels."""


def layout(features: int, classes: int, n_max: int, kind: str) -> list[list[Any]]:
    """Of a round without counts, for the head ``analytic`` and W_max = 10,000."""
    most, fewest = min(10_000, (1 << 29) // n_max), 0 if kind == "statistics" else -1
    bound = most * STEPS
    segments = [
        ["statistics", features * (features + 1), 64, STEPS, 1, -bound, bound, "nearest"],
        ["class_sums", 2 * features * classes, 64, STEPS, 1, -bound, bound, "nearest"],
        ["examples", 2 * classes, 64, 1, 1, fewest * most, most, "exact"],
        ["supporters", classes, 64, 1, 1, fewest, 1, "exact"],
    ]
    return segments + ([["members", 1, 64, 1, 1, -1, 1, "exact"]] if kind == "changes" else [])


def sums(parts: Sequence[Part], features: int, classes: int) -> list[int]:
    """What a device sends in a round of statistics, before masking; training pictures first."""
    gram, class_sums, examples = [], [], []
    for pictures, labels in parts:
        gram += [
            _steps(sum(Fraction(phi[i]) * Fraction(phi[j]) for phi in pictures))
            for i in range(features)
            for j in range(i, features)
        ]
        class_sums += [
            _steps(sum(Fraction(phi[i]) for phi, label in zip(pictures, labels, strict=True) if label == k))
            for i in range(features)
            for k in range(classes)
        ]
        examples += [sum(label == k for label in labels) for k in range(classes)]
    return gram + class_sums + examples + [int(k in parts[0][1]) for k in range(classes)]


def _steps(value: Fraction | int) -> int:
    return round(Fraction(value) * STEPS)


def words(data: bytes) -> list[int]:
    """64 bits each, little-endian."""
    return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]


def masked(q: Sequence[int], keys: Iterable[bytes], sign: int = 1) -> list[int]:
    """q and all masks (or, with ``sign`` -1, without them) modulo 2^64."""
    streams = [words(keystream(key, 8 * len(q))) for key in keys]
    return [(number + sign * sum(mask)) % (1 << 64) for number, *mask in zip(q, *streams, strict=True)]


def packed(numbers: Sequence[int]) -> bytes:
    """As they travel: the lower half of each word first."""
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def total(vectors: Sequence[Sequence[int]], segments: Sequence[Sequence[Any]]) -> list[int]:
    """Σ modulo 2^64, as signed numbers."""
    return centred([sum(column) % (1 << 64) for column in zip(*vectors, strict=True)], segments)


def solution(sum_of_all: Sequence[int], features: int, classes: int) -> tuple[Fraction, Fraction, Matrix]:
    """λ, the mean squared error that chose it, and W: a row for each feature, the last one for the constant."""
    triangle, table = features * (features + 1) // 2, features * classes
    systems = []
    for part in range(2):
        gram = [Fraction(number, STEPS) for number in sum_of_all[part * triangle : (part + 1) * triangle]]
        start = 2 * triangle + part * table
        class_sums = [Fraction(number, STEPS) for number in sum_of_all[start : start + table]]
        start = 2 * (triangle + table) + part * classes
        systems.append(_system(gram, class_sums, sum_of_all[start : start + classes], features, classes))
    (train, targets, _), (held, held_targets, pictures) = systems

    def error(strength: Fraction) -> Fraction:
        w = _solve(train, targets, strength)
        m = range(features + 1)
        fitted = sum(w[i][k] * held_targets[i][k] for i in m for k in range(classes))
        square = sum(w[i][k] * held[i][j] * w[j][k] for i in m for j in m for k in range(classes))
        return Fraction(pictures - 2 * fitted + square) / pictures

    errors = [error(strength) for strength in STRENGTHS]
    best = errors.index(min(errors))
    while best > 0 and errors[best - 1] <= Fraction("1.02") * min(errors):
        best -= 1
    both = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(train, held, strict=True)]
    goal = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(targets, held_targets, strict=True)]
    return STRENGTHS[best], errors[best], _solve(both, goal, STRENGTHS[best])


def _system(
    gram: Sequence[Fraction], class_sums: Sequence[Fraction], examples: Sequence[int], features: int, classes: int
) -> tuple[list[list[Fraction]], list[list[Fraction]], int]:
    """G and B with the constant feature, and the number of pictures."""
    place = {pair: at for at, pair in enumerate((i, j) for i in range(features) for j in range(i, features))}
    rows = [[gram[place[min(i, j), max(i, j)]] for j in range(features)] for i in range(features)]
    targets = [list(class_sums[i * classes : (i + 1) * classes]) for i in range(features)]
    last = [CONSTANT * sum(row) for row in targets]
    matrix = [[*row, edge] for row, edge in zip(rows, last, strict=True)]
    matrix.append([*last, CONSTANT**2 * sum(examples)])
    targets.append([CONSTANT * number for number in examples])
    return matrix, targets, sum(examples)


def _solve(
    matrix: Sequence[Sequence[Fraction]], targets: Sequence[Sequence[Fraction]], strength: Fraction
) -> list[list[Fraction]]:
    """(G + λI)⁻¹ B by elimination; G + λI is positive definite, so no row has to be exchanged."""
    size = len(matrix)
    rows = [[*row, *target] for row, target in zip(matrix, targets, strict=True)]
    for i in range(size):
        rows[i][i] += strength
    for i in range(size):
        rows[i] = [number / rows[i][i] for number in rows[i]]
        for other in range(size):
            if other != i:
                rows[other] = [a - rows[other][i] * b for a, b in zip(rows[other], rows[i], strict=True)]
    return [row[size:] for row in rows]
