"""What a data set is before it is split: labelled pictures in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import Places

Picture: TypeAlias = "NDArray[np.uint8] | Path"
"""(h, w) grey or (h, w, 3) RGB uint8, written as PNG; or a file, copied as it is."""

Partition: TypeAlias = "Callable[[NDArray[np.int64], int, Chance], list[NDArray[np.int64]]]"
"""(labels (n,), number of devices, chance) to one array of indices for each device."""


@dataclass(frozen=True)
class Labelled:
    """Pictures and their labels (n,) int64, positions in the source's classes."""

    pictures: Sequence[Picture]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """A data set by name.

    Attributes:
        name: as on the command line.
        classes: class names in the order of the labels.
        picture_size: suggested side of the square for the backbone, in pixels.
        load: where to look, number of devices, chance; raises DataError if the data are missing or damaged.
        partition: how the pictures go to the devices.
        flip: does a mirrored picture show the same?
    """

    name: str
    classes: tuple[str, ...]
    picture_size: int
    load: Callable[[Places, int, Chance], Labelled]
    partition: Partition
    flip: bool = True
