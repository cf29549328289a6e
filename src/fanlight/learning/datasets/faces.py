"""``faces``: face or no face, from the 200 grey pictures of 25 x 25 pixels that scikit-image carries (part of LFW).

The first 100 are faces. The classes are the demonstration's.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import Places
from fanlight.learning.datasets.partition import evenly
from fanlight.learning.datasets.source import Labelled, Source

CLASSES = ("object", "not_object")
FILE = "skimage/data/lfw_subset.npy"
MAX_BYTES = 16 * 2**20

_SHAPE = (200, 25, 25)
_FACES = 100


def load(places: Places, _devices: int, _chance: Chance) -> Labelled:
    """The 200 pictures; neither the number of devices nor chance changes them.

    Raises:
        DataError: the file is missing or not as it should be.
    """
    path = places.find(
        FILE, what="faces", next="Run `make demo` in Fanlight's folder, which fetches them, or use --dataset shapes."
    )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
        levels = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}", next="Get the file again.") from error
    return Labelled(list(_bytes_of(levels, str(path))), np.repeat([0, 1], [_FACES, _SHAPE[0] - _FACES]))


def _bytes_of(levels: Any, path: str) -> NDArray[np.uint8]:
    if not isinstance(levels, np.ndarray) or levels.shape != _SHAPE or levels.dtype.kind != "f":
        raise DataError(f"{path}: not the 200 pictures of 25 x 25 pixels that were expected")
    if not (np.isfinite(levels).all() and levels.min() >= 0.0 and levels.max() <= 1.0):
        raise DataError(f"{path}: grey levels lie outside 0 to 1")
    return np.rint(levels * 255.0).astype(np.uint8)


SOURCE = Source("faces", CLASSES, 128, load, evenly)
