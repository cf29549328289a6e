"""``stamps``: photos and drawings of Tux Paint, from the Debian package ``tuxpaint-stamps-default``.

369 cut-outs with transparency, copied as they are: the pictures' reader puts them on white.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fanlight.errors import DataError
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import Places
from fanlight.learning.datasets.partition import evenly
from fanlight.learning.datasets.source import Labelled, Source

CLASSES = ("animals", "food", "plants", "town", "vehicles")
FOLDER = "tuxpaint/stamps"
DEBIAN_FOLDER = Path("/usr/share") / FOLDER


def load(places: Places, _devices: int, _chance: Chance) -> Labelled:
    """All stamps of the five classes, in the order of their paths.

    Raises:
        DataError: the folder is missing, or a class is.
    """
    folder = places.find(
        FOLDER,
        what="stamps",
        next="Install Debian's package tuxpaint-stamps-default (`apt-get install tuxpaint-stamps-default`), or unpack "
        "it and name its share folder in FANLIGHT_DATA_DIR.",
        elsewhere=(DEBIAN_FOLDER,),
    )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(CLASSES):
        found = sorted((folder / name).rglob("*.png"))
        if not found:
            raise DataError(f"{folder} has no stamps of class {name}", next="Install the package again.")
        files.extend(found)
        labels.extend([label] * len(found))
    return Labelled(files, np.array(labels, np.int64))


SOURCE = Source("stamps", CLASSES, 128, load, evenly)
