"""Keep the index like the folder: files are hashed and measured once, and what lies where is worked out anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanlight.errors import PictureError
from fanlight.learning import pictures
from fanlight.learning.split import PARTS
from fanlight.services.device.library.index import Index
from fanlight.services.device.library.layout import FileSeen, Layout, Place, normal
from fanlight.services.device.library.measure import Measured, measure
from fanlight.services.device.library.records import IN_USE, State
from fanlight.services.device.sides import Sides

Progress = Callable[[float, str], None]
_AT_ONCE = 32
_ORDER = [State.LABELLED, State.UNLABELLED, State.NOT_USABLE, State.DELETED]
Standing = tuple[str, str, str | None, str]
"""Path, state, label, part."""
_Rank = tuple[int, int, int]
_Ranked = tuple[_Rank, Place]


def silently(_fraction: float, _text: str) -> None:
    """The progress of those who do not watch."""


def changed_files(layout: Layout, index: Index) -> list[FileSeen]:
    """Files that are new, or other than when they were read."""
    known = index.files()
    return [file for file in layout.files() if file.path not in known or known[file.path][0] != file]


def read_files(layout: Layout, index: Index, files: Sequence[FileSeen], now: int, progress: Progress) -> None:
    """Hash files, and measure the pictures that are new.

    Raises:
        StorageError: the database failed.
    """
    known = index.known()
    for start in range(0, len(files), _AT_ONCE):
        progress(start / len(files), f"reading pictures: {start:,} of {len(files):,}")
        measured: dict[str, Measured] = {}
        seen = [_read(layout.root, file, known, measured) for file in files[start : start + _AT_ONCE]]
        index.put_measured(measured, now)
        index.put_files(seen)
        known.update(measured)


def _read(
    root: Path, file: FileSeen, known: set[str], measured: dict[str, Measured]
) -> tuple[FileSeen, str | None, str | None]:
    try:
        data = pictures.read(root / file.path, name=file.path)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in known and sha256 not in measured:
            measured[sha256] = measure(data, file.path)
    except PictureError as error:
        return file, None, error.reason
    return file, sha256, None


def forget_gone(layout: Layout, index: Index) -> None:
    """Drop the files that are not there any more."""
    index.forget_files([path for path in index.files() if not (layout.root / path).is_file()])


@dataclass(frozen=True)
class Settled:
    """What ``settle`` found.

    Attributes:
        gone: pictures that no file holds any more.
        changed: does any picture stand elsewhere than before?
        others_in_use: are other pictures in use than before?
    """

    gone: set[str]
    changed: bool
    others_in_use: bool


def settle(layout: Layout, index: Index, sides: Sides, classes: Sequence[str], counted: Mapping[str, str]) -> Settled:
    """Work out where every picture stands.

    Args:
        layout, index, sides: of the folder.
        classes: the task's.
        counted: own names whose pictures count as a class's, and the class.
    """
    wanted = _standings(layout, index.contents().items(), sides, classes, counted)
    before = index.places()
    gone = before.keys() - wanted.keys()
    changed = {sha256: place for sha256, place in wanted.items() if before.get(sha256) != place}
    index.place(changed, gone)
    others = any(_in_use(before.get(sha256)) != _in_use(wanted.get(sha256)) for sha256 in changed.keys() | gone)
    return Settled(gone, bool(changed or gone), others)


def _in_use(standing: Standing | None) -> bool:
    return standing is not None and State(standing[1]) in IN_USE


def _standings(
    layout: Layout,
    files: Iterable[tuple[str, str]],
    sides: Sides,
    classes: Sequence[str],
    counted: Mapping[str, str],
) -> dict[str, Standing]:
    ranks = {normal(name): rank for rank, name in enumerate(classes)}
    folders: dict[str, _Ranked | None] = {}  # what a place says depends on the folder alone; there are few
    best: dict[str, tuple[_Rank, str, Place]] = {}
    for path, sha256 in files:
        folder = path.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = _ranked(layout.place(path), ranks)
        ranked = folders[folder]
        if ranked is None:
            continue
        rank, place = ranked
        if sha256 not in best or (rank, path) < best[sha256][:2]:
            best[sha256] = rank, path, place
    labels = {sha256: _split_as(place, counted) for sha256, (_rank, _path, place) in best.items()}
    parts = sides.parts({sha256: label for sha256, label in labels.items() if label})
    return {
        sha256: (path, place.state.value, place.label, parts.get(sha256, place.part))
        for sha256, (_rank, path, place) in best.items()
    }


def _ranked(place: Place | None, ranks: Mapping[str, int]) -> _Ranked | None:
    """A place, with what decides between the places of several copies: the least rank counts."""
    if place is None:
        return None
    part = PARTS.index(place.part) if place.part else 0
    return (_ORDER.index(place.state), part, ranks.get(place.label or "", len(ranks))), place


def _split_as(place: Place, counted: Mapping[str, str]) -> str | None:
    """The class with whose pictures this one is split; None where its owner has, or where it counts for none."""
    if place.part or place.label is None:
        return None
    return counted.get(place.label) if place.own else place.label
