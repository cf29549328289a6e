"""``fashion``: Fashion-MNIST from the Debian package ``dataset-fashion-mnist``; 5,000 of the 70,000, drawn by lot.

The files are in the idx format of MNIST: big-endian magic (0x801 labels, 0x803 pictures), then the dimensions, then
bytes. 5,000 are as many as ``digits`` has, and a device has features for them within seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import Places, read_gzip
from fanlight.learning.datasets.partition import by_class
from fanlight.learning.datasets.source import Labelled, Source

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
FOLDER = "fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets") / FOLDER
PICTURES = 5000
MAX_PICTURES = 100_000

_SIDE = 28
_PARTS = ("train", "t10k")
_PICTURE_MAGIC, _LABEL_MAGIC = 0x803, 0x801


def load(places: Places, _devices: int, chance: Chance) -> Labelled:
    """5,000 pictures (or all, if there are fewer), drawn by lot from both files.

    Raises:
        DataError: the files are missing or not as they should be.
    """
    folder = places.find(
        FOLDER,
        what="fashion",
        next="Install Debian's package dataset-fashion-mnist (`apt-get install dataset-fashion-mnist`), or unpack it "
        "and name the folder with its fashion-mnist folder in FANLIGHT_DATA_DIR.",
        elsewhere=(DEBIAN_FOLDER,),
    )
    pictures = np.concatenate([read_idx(folder / f"{part}-images-idx3-ubyte.gz", _PICTURE_MAGIC) for part in _PARTS])
    labels = np.concatenate([read_idx(folder / f"{part}-labels-idx1-ubyte.gz", _LABEL_MAGIC) for part in _PARTS])
    if pictures.shape[1:] != (_SIDE, _SIDE) or labels.shape[0] != pictures.shape[0] or labels.max(initial=0) > 9:
        raise DataError(f"{folder}: pictures and labels do not fit together", next="Install the package again.")
    chosen = np.sort(chance.shuffled(np.arange(labels.size))[:PICTURES])
    return Labelled(list(pictures[chosen]), labels[chosen].astype(np.int64))


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """A gzipped idx file of bytes: (n,) for labels, (n, rows, columns) for pictures.

    Raises:
        DataError: missing, damaged, or with other dimensions than its length.
    """
    data = read_gzip(path, MAX_PICTURES * _SIDE * _SIDE + 16)
    rank = magic & 0xFF
    head = 4 + 4 * rank
    if len(data) < head or int.from_bytes(data[:4], "big") != magic:
        raise DataError(f"{path}: not an idx file of the expected kind", next="Install the package again.")
    shape = tuple(int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank))
    expected = 1
    for length in shape:
        expected *= length
    if expected != len(data) - head:
        raise DataError(f"{path}: {len(data) - head} bytes do not fit {shape}", next="Install the package again.")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


SOURCE = Source("fashion", CLASSES, 128, load, by_class)
