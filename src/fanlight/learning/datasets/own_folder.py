"""A person's own folder as a data set.

Sub-folders ``device-1``, ``device-2``, … (or the demonstration's ``Client1``, ``Client2``, …) are used as they stand
and where they stand. Any other folder of classes is dealt out evenly among the devices, and copied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fanlight.errors import DataError, UsageError
from fanlight.learning import alike, looks
from fanlight.learning.datasets.source import Labelled
from fanlight.learning.folders import Problem, classes_of, clients_of, is_split_by_owner, scan
from fanlight.learning.split import PARTS

_DEVICE = re.compile(r"device-(\d+)")


def device_folders(folder: Path) -> tuple[Path, ...]:
    """The folders of single devices inside ``folder``, by number; empty if it is one folder for all.

    Raises:
        DataError: the folder is not there or cannot be read.
    """
    try:
        numbered = [(int(match[1]), path) for path in folder.iterdir() if (match := _DEVICE.fullmatch(path.name))]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}", next="Is it there?") from error
    return tuple(path for _, path in sorted(numbered)) or clients_of(folder)


def classes_of_devices(folders: tuple[Path, ...]) -> tuple[str, ...]:
    """All classes that any of the devices has, in alphabetical order.

    Raises:
        UsageError: fewer than two.
        DataError: as ``folders.classes_of``.
    """
    names = tuple(sorted({name for folder in folders for name in classes_of(folder)}))
    if len(names) < 2:
        raise UsageError(
            f"{', '.join(str(folder) for folder in folders)}: {len(names)} classes; there must be two or more",
            next="Make a folder for each class, with its pictures in it.",
        )
    return names


class OneFolder(NamedTuple):
    """A folder for all devices.

    Attributes:
        labelled: all pictures that can be used.
        parts: for each picture the part that the owner gave it; empty: not split.
        problems: what cannot be used, or not as it stands.
    """

    labelled: Labelled
    parts: list[str]
    problems: tuple[Problem, ...]


def load_one(folder: Path, classes: tuple[str, ...]) -> OneFolder:
    """All usable pictures of one folder.

    Raises:
        DataError: as ``folders.scan``, or no picture can be used.
    """
    found = scan(folder, classes)
    split_by_owner = is_split_by_owner(folder, classes)
    paths, labels, parts = [], [], []
    for part in PARTS:
        for picture in found.part(part):
            paths.append(picture.path)
            labels.append(picture.label)
            parts.append(part if split_by_owner else "")
    if not paths:
        reasons = "; ".join(str(problem) for problem in found.problems[:3])
        raise DataError(f"{folder} holds no picture that can be used. {reasons}".rstrip())
    return OneFolder(Labelled(paths, np.array(labels, np.int64)), parts, found.problems)


def alike_in(paths: Sequence[Path]) -> list[list[int]]:
    """Groups of pictures that look alike, by their indices: they go to one device, and there into one part.

    Raises:
        PictureError: one has been damaged since it was found.
    """
    seen = [(str(index), *looks.look(picture).look) for index, picture in enumerate(paths)]
    return [[int(index) for index in group] for group in alike.groups(seen)]
