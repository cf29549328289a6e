"""What every algorithm is: a record of two pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fanlight.errors import ModelError

StateT = TypeVar("StateT")
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Algorithm(Generic[StateT]):
    """A named pair of functions; ``parameters_of`` reads the current model out of a state."""

    name: str
    init: Callable[[ArrayLike], StateT]
    apply: Callable[[StateT, ArrayLike], StateT]
    parameters_of: Callable[[StateT], Vector]


def frozen_vector(what: str, values: ArrayLike) -> Vector:
    """A read-only (d,) float64 copy; errors as in ``checked_vector``."""
    vector = checked_vector(what, np.array(values, np.float64))
    vector.setflags(write=False)
    return vector


def checked_vector(what: str, values: ArrayLike) -> Vector:
    """The (d,) values as float64, not copied where they are.

    Raises:
        ModelError: not one-dimensional, empty, or not finite.
    """
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ModelError(f"{what} of shape {vector.shape} is not a vector")
    if not np.isfinite(vector).all():
        raise ModelError(f"{what} holds numbers that are not finite")
    return vector
