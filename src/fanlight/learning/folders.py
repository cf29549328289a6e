"""One device's folder of labelled pictures: which picture has which label, and which part it plays.

Three layouts are understood::

    FOLDER/{train,valid,test}/CLASS/…             split by the owner (``val`` and ``validation`` mean ``valid``)
    FOLDER/CLASS/…                                split here, 60/20/20 in each class (``split``)
    FOLDER/Client#/{train,valid,test}/CLASS/…     the demonstration's Object_name: give the client's folder, or choose

Rules:

1. Classes belong to the task. A folder with a class that the task does not know is refused, with both lists: a label is
   a position in the task's list, never in a listing of the disk (differing names once swapped labels in silence).
2. A device need not have every class.
3. What cannot be used is named in ``problems``; the rest is used.
4. A picture counts once, whatever its name. In two parts it stays in the earlier one of train, valid, test, so that no
   test picture was trained on; under two classes of one part it stays with the one that the task lists first. Both are
   said.
5. Hidden files, and links to folders inside a class, are passed over.
6. A folder with ``Client#`` or parts in it, however deep, is no class: whoever gives the folder above an Object_name
   gets an error, not the objects as classes.
7. Pictures without a label, not usable or deleted lie in folders of their own beside the classes, which are passed
   over; so do those of names that only the home knows (``_own/NAME/…``), unless the owner lets a name's pictures count
   as one of the task's classes.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fanlight.errors import DataError, PictureError
from fanlight.learning import alike, looks, pictures
from fanlight.learning.split import PARTS, split

PART_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""Folders of parts, in lower case, and the part that each means."""
UNLABELLED, NOT_USABLE, DELETED = "_unlabelled", "_not-usable", "_deleted"
"""Folders beside those of classes or parts, for pictures that nothing is learned from."""
OWN = "_own"
"""The folder beside those that holds one for each name that only the home knows."""

_ASIDE = frozenset({UNLABELLED, NOT_USABLE, DELETED, OWN})
_CLIENT = re.compile(r"client[ _-]?\d+", re.IGNORECASE)
_NEVER_PICTURES = frozenset({"thumbs.db", "desktop.ini"})
_PROBE_SIZE = 8

File = tuple[str, int, int, int]
"""A file as it is: path, size in bytes, times of its last change of content and of anything, in nanoseconds."""
Hashes = dict[File, str]
"""SHA-256 of files, in hexadecimal."""


@dataclass(frozen=True)
class LabelledPicture:
    """A picture that can be used: its file, its label (position in the task's classes), SHA-256 of the file."""

    path: Path
    label: int
    content_hash: str


Divide = Callable[[Sequence[LabelledPicture]], Mapping[str, str]]
"""Pictures that their owner has not split, to the part of each by its content hash."""


@dataclass(frozen=True)
class Problem:
    """What cannot be used, or not as it stands; the message names it."""

    path: Path
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class PictureSet:
    """A device's pictures for training, validation and testing, and what was wrong in its folder."""

    train: tuple[LabelledPicture, ...]
    valid: tuple[LabelledPicture, ...]
    test: tuple[LabelledPicture, ...]
    problems: tuple[Problem, ...] = ()

    def part(self, name: str) -> tuple[LabelledPicture, ...]:
        """The pictures of ``train``, ``valid`` or ``test``."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]


@dataclass(frozen=True)
class _Found:
    path: Path
    part: str  # empty: not yet split
    label: int


def divide_afresh(unsplit: Sequence[LabelledPicture]) -> dict[str, str]:
    """The ``Divide`` of those who remember nothing: all pictures are looked at, and dealt out as if they were new.

    Raises:
        PictureError: one has been damaged since it was found.
    """
    seen = [(picture.content_hash, *looks.look(picture.path).look) for picture in unsplit]
    return split({picture.content_hash: picture.label for picture in unsplit}, alike.groups(seen))


def scan(
    folder: Path,
    classes: Sequence[str],
    *,
    client: str | None = None,
    known: Container[str] = frozenset(),
    hashes: Hashes | None = None,
    divide: Divide = divide_afresh,
    counted: Mapping[str, str] = MappingProxyType({}),
) -> PictureSet:
    """Read a device's folder.

    Args:
        folder: in one of the three layouts.
        classes: the task's class names, in the order of the labels.
        client: which ``Client#`` to take, where the folder holds several.
        known: content hashes of pictures that were decoded before; these are not decoded again.
        hashes: content hashes by file, of an earlier scan: what has not changed since is not read.  Changed in place to
            hold the usable pictures of this scan.
        divide: splits what the owner has not; whatever it raises passes through.
        counted: the home's own names whose pictures count as a class's, and the class.

    Raises:
        DataError: the folder is gone, cannot be read, has classes that the task does not know, or is one level too
            high. An empty one is no error: pictures are put in later.
    """
    chosen = device_folder(Path(folder), client)
    problems: list[Problem] = []
    normal = [_normal(name) for name in classes]
    found = [*_find(chosen, normal, problems), *_find_counted(chosen, normal, counted)]
    usable = _examine(found, classes, known, {} if hashes is None else hashes, problems)
    parts: dict[str, list[LabelledPicture]] = {part: [] for part in PARTS}
    for item, picture in usable:
        if item.part:
            parts[item.part].append(picture)
    unsplit = [picture for item, picture in usable if not item.part]
    part_of = divide(unsplit) if unsplit else {}
    for picture in sorted(unsplit, key=lambda picture: (picture.label, picture.content_hash)):
        parts[part_of[picture.content_hash]].append(picture)
    return PictureSet(tuple(parts["train"]), tuple(parts["valid"]), tuple(parts["test"]), tuple(problems))


def classes_of(folder: Path, *, client: str | None = None) -> tuple[str, ...]:
    """Names of the classes that a device's folder has, in alphabetical order.

    Raises:
        DataError: as ``scan``.
    """
    chosen = device_folder(Path(folder), client)
    found = _subfolders(chosen)
    if _is_split({path.name for path in found}, ()):
        found = [path for part in _part_folders(chosen) for path in _subfolders(part)]
    for path in found:
        _refuse_no_class(path)
    return tuple(sorted({_normal(path.name) for path in found}))


def is_split_by_owner(folder: Path, classes: Sequence[str]) -> bool:
    """Has the owner said which pictures are for training, validation and testing?"""
    return _is_split({path.name for path in _subfolders(folder)}, classes)


def clients_of(folder: Path) -> tuple[Path, ...]:
    """The ``Client#`` folders inside a demonstration's Object_name, by number; empty for other layouts."""
    clients = [path for path in _subfolders(Path(folder)) if _CLIENT.fullmatch(path.name)]
    return tuple(sorted(clients, key=lambda path: (int(re.sub(r"\D", "", path.name)), path.name)))


def device_folder(folder: Path, client: str | None) -> Path:
    """Where the pictures of one device lie: ``folder``, or the ``Client#`` in it.

    Raises:
        DataError: there is no such client, or it is not said which of several, or the folder cannot be read.
    """
    clients = clients_of(folder)
    names = [path.name for path in clients]
    if client is not None:
        if client not in names:
            raise DataError(f"{folder} has no {client}; it has: {', '.join(names) or 'no clients'}")
        return folder / client
    if len(clients) > 1:
        raise DataError(
            f"{folder} holds the pictures of {len(clients)} devices: {', '.join(names)}",
            next=f"Give one device one of them, for example {clients[0]}.",
        )
    return clients[0] if clients else folder


def _find(folder: Path, classes: list[str], problems: list[Problem]) -> Iterator[_Found]:
    subfolders = _subfolders(folder)
    _report_strays(folder, problems)
    if not _is_split({path.name for path in subfolders}, classes):
        yield from _find_classes(folder, "", classes)
        return
    part_folders = _part_folders(folder)
    others = sorted(set(subfolders) - set(part_folders))
    problems.extend(Problem(path, f"{path}: passed over: it is none of {', '.join(PARTS)}") for path in others)
    for path in part_folders:
        _report_strays(path, problems)
        yield from _find_classes(path, PART_NAMES[path.name.lower()], classes)


def _is_split(names: set[str], classes: Sequence[str]) -> bool:
    """Is this the layout with parts? Not where a task has a class called "train", and all folders are classes."""
    has_parts = any(name.lower() in PART_NAMES for name in names)
    return has_parts and not all(_normal(name) in classes for name in names)


def _part_folders(folder: Path) -> list[Path]:
    """The folders of parts, training first: where a picture stands twice, the earlier part keeps it."""
    parts = [path for path in _subfolders(folder) if path.name.lower() in PART_NAMES]
    return sorted(parts, key=lambda path: (PARTS.index(PART_NAMES[path.name.lower()]), path.name))


def _find_classes(folder: Path, part: str, classes: list[str]) -> Iterator[_Found]:
    by_name = {_normal(path.name): path for path in _subfolders(folder)}
    for path in by_name.values():
        _refuse_no_class(path)
    unknown = sorted(set(by_name) - set(classes))
    if unknown:
        raise DataError(
            f"{folder} has classes that the task does not know: {', '.join(unknown)}; "
            f"the folder has: {', '.join(sorted(by_name))}; the task has: {', '.join(classes)}",
            slug="unknown-class",
            next="Rename or move the folders whose names are not among the task's classes.",
        )
    for label, name in enumerate(classes):
        if name in by_name:
            for path in _files(by_name[name]):
                yield _Found(path, part, label)


def _find_counted(folder: Path, classes: list[str], counted: Mapping[str, str]) -> Iterator[_Found]:
    """Pictures of the home's own names that count as one of the task's classes; split here in any layout."""
    if not counted or not (folder / OWN).is_dir():
        return
    kinds = {_normal(name): _normal(kind) for name, kind in counted.items()}
    for path in _subfolders(folder / OWN):
        kind = kinds.get(_normal(path.name))
        if kind in classes:
            for file in _files(path):
                yield _Found(file, "", classes.index(kind))


def _refuse_no_class(folder: Path) -> None:
    """Raise ``DataError`` if a class's folder holds clients or parts: the folder given is too high."""
    for root, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        telling = [name for name in folders if _CLIENT.fullmatch(name) or name.lower() in PART_NAMES]
        if telling:
            raise DataError(
                f"{folder} is not the folder of a class: {root} holds {', '.join(telling[:5])}",
                slug="not-a-class",
                next=f"Did you mean {root}? A class's folder holds pictures, and no folders named like these.",
            )


def _examine(
    found: list[_Found], classes: Sequence[str], known: Container[str], hashes: Hashes, problems: list[Problem]
) -> list[tuple[_Found, LabelledPicture]]:
    """Hash and decode (unless known), and drop what stands twice."""
    first: dict[str, _Found] = {}
    usable: list[tuple[_Found, LabelledPicture]] = []
    before = dict(hashes)
    hashes.clear()
    for item in found:
        try:
            file = _file(item.path)  # before it is read: what changes meanwhile is read again next time
            digest = before.get(file) or _digest(item.path, known, first)
        except PictureError as error:
            problems.append(Problem(item.path, error.message))
            continue
        hashes[file] = digest
        earlier = first.setdefault(digest, item)
        if earlier is item:
            usable.append((item, LabelledPicture(item.path, item.label, digest)))
        elif earlier.label != item.label:
            kept = f"it counts as {classes[earlier.label]}, not {classes[item.label]}"
            problems.append(Problem(item.path, f"{item.path}: the same picture as {earlier.path}; {kept}"))
        elif earlier.part != item.part:
            kept = f"it counts for {earlier.part}, not {item.part}"
            problems.append(Problem(item.path, f"{item.path}: the same picture as {earlier.path}; {kept}"))
    return usable


def _file(path: Path) -> File:
    try:
        found = path.stat()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}", picture=str(path)) from error
    return (str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _digest(path: Path, known: Container[str], seen: Container[str]) -> str:
    data = pictures.read(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest not in known and digest not in seen:
        pictures.load(data, _PROBE_SIZE, name=str(path))
    return digest


def _normal(name: str) -> str:
    """Some file systems hand out accented letters in two pieces; a name is a name."""
    return unicodedata.normalize("NFC", name)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NEVER_PICTURES


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in _listing(folder) if path.is_dir() and path.name not in _ASIDE)


def _report_strays(folder: Path, problems: list[Problem]) -> None:
    strays = sorted(path for path in _listing(folder) if not path.is_dir())
    problems.extend(Problem(path, f"{path}: passed over: it lies in no class's folder") for path in strays)


def _listing(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not _hidden(path.name)]
    except OSError as error:
        raise _gone(folder, error) from error


def _files(folder: Path) -> list[Path]:
    """All files of a class, folders within it included, in a fixed order."""

    def refuse(error: OSError) -> None:
        raise _gone(Path(error.filename or folder), error) from error

    files: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        files.extend(Path(root, name) for name in sorted(names) if not _hidden(name))
    return files


def _gone(folder: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"the folder {folder} is not there", next="Was it moved, or its disk taken out? Put it back.")
    return DataError(f"the folder {folder} cannot be read: {error.strerror}", next="Is it a folder, and yours to read?")
