"""A device's own sums, as a file: kept until they are sent, and then for as long as they may have to be undone."""

from __future__ import annotations

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fanlight.errors import StorageError
from fanlight.protocol.statistics import Sums

_PARTS = ("gram", "class_sums", "examples")


def encode(sums: Sums) -> bytes:
    """The file."""
    return save({part: np.ascontiguousarray(getattr(sums, part)) for part in _PARTS})


def decode(data: bytes) -> Sums:
    """The sums.

    Raises:
        StorageError: it is no such file.
    """
    try:
        found = load(data)
        gram, class_sums, examples = (found[part] for part in _PARTS)
    except (SafetensorError, KeyError) as error:
        raise StorageError("The file with this device's sums is damaged.", slug="damaged-sums") from error
    return Sums(gram, class_sums, examples)
