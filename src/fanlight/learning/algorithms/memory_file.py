"""What an algorithm remembers, as bytes: a safetensors file of (d,) F64 tensors by name."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fanlight.errors import ModelError
from fanlight.learning.algorithms.algorithm import Memory, frozen_vector


def encode(memory: Memory) -> bytes:
    """The file; the same memory gives the same bytes."""
    return save({name: np.ascontiguousarray(memory[name], np.float64) for name in sorted(memory)})


def decode(data: bytes) -> Memory:
    """Read a file.

    Raises:
        ModelError: it is none, or a tensor is no vector of finite numbers.
    """
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ModelError("what an algorithm remembered is damaged") from error
    return MappingProxyType({name: frozen_vector(name, tensor) for name, tensor in tensors.items()})
