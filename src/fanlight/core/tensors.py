"""Named tensors and the one long vector that is clipped, quantised and summed.

A layout is an ordered list of names and shapes. The vector holds the tensors in that order, each row-major, so two
parties that agree on the layout agree on every coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError

MOST_PARAMETERS: Final = 1 << 28


@dataclass(frozen=True)
class TensorSpec:
    """Name and shape of one tensor; the empty shape is a single number.

    Raises:
        ModelError: the name is empty or an axis is shorter than 1.
    """

    name: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.name or any(axis < 1 for axis in self.shape):
            raise ModelError(f"a tensor needs a name and axes of at least 1, not {self.name!r} {self.shape}")

    @property
    def size(self) -> int:
        """How many numbers the tensor has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class TensorLayout:
    """The tensors of a model, in the order in which the vector holds them.

    Raises:
        ModelError: no tensor, a name twice, or more than 2^28 numbers.
    """

    specs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if not self.specs or len(set(self.names)) != len(self.specs):
            raise ModelError(f"a layout needs tensors with different names, not {list(self.names)}")
        if self.size > MOST_PARAMETERS:
            raise ModelError(f"a model of {self.size} numbers is above the limit of {MOST_PARAMETERS}")

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, in order."""
        return tuple(spec.name for spec in self.specs)

    @property
    def size(self) -> int:
        """Length d of the vector."""
        return sum(spec.size for spec in self.specs)

    def flatten(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """The (d,) float64 vector of floating-point tensors.

        Raises:
            ModelError: a tensor is missing, unknown, of another shape, not floating-point or not finite.
        """
        self._check_names(tensors)
        for spec in self.specs:
            _check_tensor(spec, tensors[spec.name])
        vector = np.empty(self.size, dtype=np.float64)
        for spec, part in zip(self.specs, self._parts(vector), strict=True):
            part[...] = tensors[spec.name].reshape(-1)
        return vector

    def unflatten(self, vector: NDArray[np.floating[Any]]) -> dict[str, NDArray[np.float32]]:
        """Tensors as new float32 arrays from the (d,) vector.

        Raises:
            ModelError: the vector has another length, or a value that is not a finite float32.
        """
        if vector.shape != (self.size,) or not np.issubdtype(vector.dtype, np.floating):
            raise ModelError(f"the vector has shape {vector.shape} of {vector.dtype}, not ({self.size},) of floats")
        with np.errstate(over="ignore", under="ignore"):  # an overflow becomes infinite, which is refused below
            narrow = vector.astype(np.float32)
        if not np.isfinite(narrow).all():
            raise ModelError("the vector holds values that are not finite in float32")
        parts = self._parts(narrow)
        return {spec.name: part.reshape(spec.shape) for spec, part in zip(self.specs, parts, strict=True)}

    def views(self, vector: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The tensors as they lie in the (d,) vector, without a copy: what changes in them changes in it.

        Raises:
            ModelError: the vector has another length.
        """
        if vector.shape != (self.size,):
            raise ModelError(f"the vector has shape {vector.shape}, not ({self.size},)")
        parts = self._parts(vector)
        return {spec.name: part.reshape(spec.shape) for spec, part in zip(self.specs, parts, strict=True)}

    def _parts(self, vector: NDArray[Any]) -> list[NDArray[Any]]:
        ends = list(accumulate(spec.size for spec in self.specs))
        return [vector[end - spec.size : end] for spec, end in zip(self.specs, ends, strict=True)]

    def _check_names(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        missing = sorted(set(self.names) - set(tensors))
        unknown = sorted(set(tensors) - set(self.names))
        if missing or unknown:
            raise ModelError(f"the tensors are not those of the layout: missing {missing}, unknown {unknown}")


def _check_tensor(spec: TensorSpec, tensor: NDArray[Any]) -> None:
    if tensor.shape != spec.shape:
        raise ModelError(f"tensor {spec.name!r} has shape {tensor.shape}, not {spec.shape}")
    if not np.issubdtype(tensor.dtype, np.floating):
        raise ModelError(f"tensor {spec.name!r} holds {tensor.dtype}, not floating-point numbers")
    if not np.isfinite(tensor).all():
        raise ModelError(f"tensor {spec.name!r} holds values that are not finite numbers")
