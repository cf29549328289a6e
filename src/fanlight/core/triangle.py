"""Symmetric matrices as their upper triangle, row by row: f(f+1)/2 numbers of an (f, f) matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PANEL: Final = 160  # rows whose products stay in the cache until they are written


def length_of(rows: int) -> int:
    """Numbers in the triangle of a matrix of so many rows."""
    return rows * (rows + 1) // 2


def rows_of(length: int) -> int:
    """The rows of the matrix whose triangle has so many numbers."""
    return (math.isqrt(8 * length + 1) - 1) // 2


def of_products(x: NDArray[np.float32], block: int) -> NDArray[np.float64]:
    """That of xᵀx, x (n, f): products of ``block`` rows are summed in float32, and the blocks in float64.

    Only what the triangle holds is multiplied, a panel at a time, and each number is written once.
    """
    features = x.shape[1]
    triangle, places = np.empty(length_of(features)), _places(features)
    for start in range(0, features, _PANEL):
        panel: NDArray[Any] | None = None
        for first in range(0, max(len(x), 1), block):
            rows = x[first : first + block]
            products = rows[:, start : start + _PANEL].T @ rows[:, start:]
            panel = products if panel is None else np.add(panel, products, dtype=np.float64)
        for row, numbers in enumerate(panel if panel is not None else ()):
            triangle[next(places)] = numbers[row:]
    return triangle


def spread(triangle: NDArray[Any], matrix: NDArray[np.float64]) -> None:
    """Write the symmetric matrix with this triangle into (f, f) ``matrix``."""
    for row, place in enumerate(_places(len(matrix))):
        matrix[row, row:] = matrix[row:, row] = triangle[place]


def _places(rows: int) -> Iterator[slice]:
    at = 0
    for row in range(rows):
        yield slice(at, at := at + rows - row)
