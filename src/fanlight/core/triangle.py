"""Symmetric matrices as their upper triangle, row by row: f(f+1)/2 numbers of an (f, f) matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PANEL: Final = 96  # rows whose products stay in the cache until they are written
_ROWS: Final = 512  # of x that are held in float64 at once


def length_of(rows: int) -> int:
    """Numbers in the triangle of a matrix of so many rows."""
    return rows * (rows + 1) // 2


def rows_of(length: int) -> int:
    """The rows of the matrix whose triangle has so many numbers."""
    return (math.isqrt(8 * length + 1) - 1) // 2


def of_products(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """That of xᵀx, x (n, f), multiplied and summed in float64.

    Only what the triangle holds is multiplied, a panel at a time, in memory that stays in the cache.
    """
    features = x.shape[1]
    triangle, room = np.empty(length_of(features)), np.empty(_PANEL * features)
    for first in range(0, max(len(x), 1), _ROWS):
        rows, places = x[first : first + _ROWS].astype(np.float64), _places(features)
        for start in range(0, features, _PANEL):
            left = rows[:, start : start + _PANEL].T
            panel = room[: len(left) * (features - start)].reshape(len(left), -1)
            np.matmul(left, rows[:, start:], out=panel)
            for row, numbers in enumerate(panel):
                place = next(places)
                triangle[place] = triangle[place] + numbers[row:] if first else numbers[row:]
    return triangle


def spread(triangle: NDArray[Any], matrix: NDArray[np.float64]) -> None:
    """Write the symmetric matrix with this triangle into (f, f) ``matrix``."""
    for row, place in enumerate(_places(len(matrix))):
        matrix[row, row:] = matrix[row:, row] = triangle[place]


def _places(rows: int) -> Iterator[slice]:
    at = 0
    for row in range(rows):
        yield slice(at, at := at + rows - row)
