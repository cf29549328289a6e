"""From a data set's name to one folder of pictures for each device.

A prepared data set lies in a folder of its own below ``target``, named by everything that went into it, and appears
there whole or not at all: it is written beside and then renamed. So the same arguments find the same files again, and
nothing that a person may have added is ever overwritten.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import DataError, StorageError, UsageError
from fanlight.learning import pictures
from fanlight.learning.datasets import digits, faces, fashion, own_folder, shapes, stamps
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import places
from fanlight.learning.datasets.partition import evenly_in_groups
from fanlight.learning.datasets.source import Labelled, Picture
from fanlight.learning.folders import Problem
from fanlight.learning.split import split

SOURCES = {source.name: source for source in (m.SOURCE for m in (faces, digits, shapes, fashion, stamps))}
NAMES = tuple(SOURCES)
MAX_DEVICES = 1000
OWN_FOLDER_PICTURE_SIZE = 128

_FORMAT = 2  # part of the folder's name: raise it when drawing or splitting changes


@dataclass(frozen=True)
class DataSet:
    """A data set that is ready.

    Attributes:
        name: as asked for; a folder's own name otherwise.
        classes: class names in the order of the labels, two or more.
        picture_size: suggested side of the square for the backbone, in pixels.
        device_folders: one folder for each device, device 1 first, as ``folders.scan`` takes it.
        problems: what was left out, where a person's folder was dealt out.
        without_pictures: the classes that no picture is left of, where a person's folder was dealt out.
        flip: does a mirrored picture show the same?
    """

    name: str
    classes: tuple[str, ...]
    picture_size: int
    device_folders: tuple[Path, ...]
    problems: tuple[Problem, ...] = ()
    without_pictures: tuple[str, ...] = ()
    flip: bool = True


def prepare(name: str | Path, devices: int, seed: int, target: Path, *, data_dir: Path | None = None) -> DataSet:
    """Make (or find again) a data set's folders.

    Args:
        name: one of ``NAMES``, or the path of a folder with pictures.
        devices: how many, 1 to 1,000.
        seed: 0 or more; fixes drawing and splitting.
        target: folder to write below; made if need be.
        data_dir: where to look for data files first.

    Raises:
        DataError: unknown name, missing or damaged data, too few pictures.
        UsageError: a folder of fewer than two classes, or of fewer device folders than asked for.
        StorageError: the folders cannot be written.
    """
    if not 1 <= devices <= MAX_DEVICES or seed < 0:
        raise DataError(f"{devices} devices with seed {seed}: devices must be 1 to {MAX_DEVICES}, the seed 0 or more")
    source = SOURCES.get(str(name))
    if source is None:
        return _prepare_own(_own_folder(name), devices, seed, Path(target))
    root = Path(target) / f"{source.name}-{devices}-{seed}-v{_FORMAT}"
    if not root.exists():
        chance = Chance(f"{source.name}/{devices}", seed)
        labelled = without_duplicates(source.load(places(data_dir), devices, chance))
        assigned = source.partition(labelled.labels, devices, chance)
        _write(root, labelled, source.classes, assigned, [""] * labelled.labels.size, chance)
    return DataSet(source.name, source.classes, source.picture_size, _folders(root, devices), flip=source.flip)


def _own_folder(name: str | Path) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise DataError(
            f"there is no data set and no folder called {name}",
            slug="unknown-dataset",
            next=f"Choose one of {', '.join(NAMES)}, or give the path of a folder with pictures.",
        )
    return folder.resolve()


def _prepare_own(folder: Path, devices: int, seed: int, target: Path) -> DataSet:
    own = own_folder.device_folders(folder)
    if own:
        if len(own) < devices:
            raise UsageError(
                f"{folder} has folders for {len(own)} devices, not {devices}", next=f"Ask for --devices {len(own)}."
            )
        used = own[:devices]
        return DataSet(folder.name, own_folder.classes_of_devices(used), OWN_FOLDER_PICTURE_SIZE, used)
    classes = own_folder.classes_of_devices((folder,))
    labelled, parts, problems = own_folder.load_one(folder, classes)
    contents = hashlib.sha256("\n".join([*classes, *parts]).encode())
    for picture, label in zip(labelled.pictures, labelled.labels, strict=True):
        contents.update(f"{label}:{_digest(picture)}".encode())
    root = target / f"{folder.name}-{contents.hexdigest()[:12]}-{devices}-{seed}-v{_FORMAT}"
    if not root.exists():
        chance = Chance(f"folder/{devices}", seed)
        groups = own_folder.alike_in([picture for picture in labelled.pictures if isinstance(picture, Path)])
        _write(
            root, labelled, classes, evenly_in_groups(labelled.labels, devices, chance, groups), parts, chance, groups
        )
    missing = tuple(name for label, name in enumerate(classes) if label not in labelled.labels)
    return DataSet(folder.name, classes, OWN_FOLDER_PICTURE_SIZE, _folders(root, devices), problems, missing)


def _folders(root: Path, devices: int) -> tuple[Path, ...]:
    folders = tuple(root / f"device-{number}" for number in range(1, devices + 1))
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"the folder {folder} is not there", next=f"Remove {root} to have it made anew.")
    return folders


def _digest(picture: Picture) -> str:
    if isinstance(picture, Path):
        return pictures.content_hash(picture)
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


def without_duplicates(labelled: Labelled) -> Labelled:
    """Each picture once: one that is in two parts, or on two devices, would flatter the model."""
    first: dict[str, int] = {}
    for index, picture in enumerate(labelled.pictures):
        first.setdefault(_digest(picture), index)
    kept = list(first.values())
    return Labelled([labelled.pictures[index] for index in kept], labelled.labels[kept])


def _write(
    root: Path,
    labelled: Labelled,
    classes: tuple[str, ...],
    assigned: list[NDArray[np.int64]],
    parts: list[str],
    chance: Chance,
    groups: Sequence[Sequence[int]] = (),
) -> None:
    if min(indices.size for indices in assigned) < 1:
        raise DataError(
            f"{labelled.labels.size} pictures are too few for {len(assigned)} devices", next="Ask for fewer devices."
        )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root.parent))
        try:
            for number, indices in enumerate(assigned, start=1):
                _write_device(unfinished / f"device-{number}", indices, labelled, classes, parts, chance, groups)
            unfinished.rename(root)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(f"the data set cannot be written to {root}: {error}", next="Is the disk full?") from error


def _write_device(
    folder: Path,
    indices: NDArray[np.int64],
    labelled: Labelled,
    classes: tuple[str, ...],
    parts: list[str],
    chance: Chance,
    groups: Sequence[Sequence[int]],
) -> None:
    folder.mkdir()
    labels = labelled.labels
    by_class = (indices[labels[indices] == label] for label in np.unique(labels[indices]))
    drawn = [int(index) for members in by_class for index in chance.shuffled(members)]
    name = {index: f"{place:06d}" for place, index in enumerate(drawn) if not parts[index]}  # in the order of the draw
    alike = [[name[index] for index in group if index in name] for group in groups]
    part_of = split({name[index]: int(labels[index]) for index in name}, alike)
    for index in drawn:
        place = folder / (parts[index] or part_of[name[index]]) / classes[labels[index]]
        place.mkdir(parents=True, exist_ok=True)
        _write_picture(place, index, labelled.pictures[index])


def _write_picture(place: Path, index: int, picture: Picture) -> None:
    if isinstance(picture, Path):
        shutil.copyfile(picture, place / f"{index:05d}{picture.suffix.lower()}")
    else:
        Image.fromarray(picture).save(place / f"{index:05d}.png", optimize=False, compress_level=1)
