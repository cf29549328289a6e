"""Where in the data folder a picture lies, and what that says of it: the folder on disk is the truth.

::

    CLASS/…  or  {train,valid,test}/CLASS/…     labelled, as ``fanlight.learning.folders`` reads it
    _unlabelled/  _not-usable/  _deleted/       beside them
    _own/NAME/…                                 labelled with a name that only this home knows
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanlight.errors import DataError
from fanlight.learning.folders import (
    DELETED,
    NOT_USABLE,
    OWN,
    PART_NAMES,
    UNLABELLED,
    device_folder,
    is_split_by_owner,
)
from fanlight.learning.split import PARTS
from fanlight.services.device.library.records import State

FOLDER_OF = {State.UNLABELLED: UNLABELLED, State.NOT_USABLE: NOT_USABLE, State.DELETED: DELETED}
_STATE_OF = {folder: state for state, folder in FOLDER_OF.items()}
_NO_PICTURES = frozenset({"thumbs.db", "desktop.ini"})
_LONGEST_NAME = 255  # bytes, on the usual file systems


@dataclass(frozen=True)
class Place:
    """What a file's folder says: its state (never ``suggested``), label, and part if the owner has split.

    ``own``: is the label a name that only this home knows?
    """

    state: State
    label: str | None = None
    part: str = ""
    own: bool = False


@dataclass(frozen=True)
class FileSeen:
    """A file as it is: ``path`` from the folder with ``/``, ``size`` in bytes, time of its last change."""

    path: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Layout:
    """A device's folder.

    Attributes:
        root: the folder, ``Client#`` included.
        split: has the owner divided it into parts?
        own: names that only this home knows; one that is also a class's stays at home.
    """

    root: Path
    split: bool
    own: frozenset[str] = frozenset()

    @classmethod
    def of(cls, folder: Path, client: str | None, classes: Sequence[str], own: Iterable[str] = ()) -> Layout:
        """Look at a folder.

        Raises:
            DataError: it is gone, cannot be read, or holds several devices'.
        """
        root = device_folder(folder, client)
        split = is_split_by_owner(root, [normal(name) for name in classes])
        return cls(root, split, frozenset(normal(name) for name in own))

    def place(self, path: str) -> Place | None:
        """What the place of ``path`` says; None where no pictures are looked for."""
        folders = path.split("/")[:-1]  # not by pathlib: thousands of paths are asked for after each change
        if not folders:
            return None
        if folders[0] in _STATE_OF:
            return Place(_STATE_OF[folders[0]])
        if folders[0] == OWN:
            return Place(State.LABELLED, normal(folders[1]), own=True) if len(folders) > 1 else None
        if not self.split:
            return Place(State.LABELLED, normal(folders[0]))
        part = PART_NAMES.get(folders[0].lower())
        return Place(State.LABELLED, normal(folders[1]), part) if part and len(folders) > 1 else None

    def folder_for(self, label: str, sha256: str, part: str = "") -> str:
        """The folder of a class; where the owner has split, that of ``part``, or of one by the content: 60/20/20.

        Raises:
            DataError: the class's name cannot name a folder.
        """
        check_folder_name(label)
        if normal(label) in self.own:
            return self.own_folder(label)
        if not self.split:
            return self._existing("", label)
        part = part or PARTS[(0, 0, 0, 1, 2)[int(sha256[:8], 16) % 5]]
        upper = next((name for name in self._names("") if PART_NAMES.get(name.lower()) == part), part)
        return f"{upper}/{self._existing(upper, label)}"

    def own_folder(self, name: str) -> str:
        """The folder of a name that only this home knows, as it is called on this disk."""
        return f"{OWN}/{self._existing(OWN, name)}"

    def free_path(self, folder: str, name: str, sha256: str, taken: Container[str] = frozenset()) -> str:
        """A path in ``folder`` where nothing lies and that is not ``taken``, by this name if possible.

        Raises:
            DataError: there is none.
        """
        stem, suffix = Path(name).stem, Path(name).suffix
        for number in range(1000):
            addition = "" if number == 0 else f"-{sha256[:8]}" if number == 1 else f"-{sha256[:8]}-{number}"
            path = f"{folder}/{stem}{addition}{suffix}"
            if path not in taken and not os.path.lexists(self.root / path):
                return path
        raise DataError(f"{folder}: no free name for {name}", next="Remove some of the files of this name.")

    def files(self) -> Iterator[FileSeen]:
        """All files that may be pictures; hidden ones and links to folders are passed over."""
        for folder, names in self._walk():
            for name in names:
                path = (folder / name).relative_to(self.root).as_posix()
                if hidden(name) or self.place(path) is None or not _storable(path):
                    continue
                try:
                    about = (folder / name).stat()
                except OSError:
                    continue  # gone since it was listed, or a link to nothing
                yield FileSeen(path, about.st_size, about.st_mtime_ns)

    def stamps(self) -> dict[str, int]:
        """Times of the last change of all folders; they change when a file is added, removed or renamed."""
        found = {}
        for folder, _names in self._walk():
            found[str(folder)] = changed_at(str(folder))
        return found

    def _walk(self) -> Iterator[tuple[Path, list[str]]]:
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not hidden(name))
            yield Path(folder), sorted(names)

    def _existing(self, upper: str, label: str) -> str:
        """The folder of a class under the name that it has on this disk."""
        return next((name for name in self._names(upper) if normal(name) == normal(label)), label)

    def _names(self, upper: str) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.root / upper) if entry.is_dir())
        except FileNotFoundError:
            return []


def changed_at(folder: str) -> int:
    """Time of a folder's last change in nanoseconds; -1 if it is gone."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return -1


def normal(name: str) -> str:
    """A class's name in one spelling, as ``fanlight.learning.folders`` compares it."""
    return unicodedata.normalize("NFC", name)


def hidden(name: str) -> bool:
    """Is this a file or folder that is never looked at?"""
    return name.startswith(".") or name.lower() in _NO_PICTURES


def check_folder_name(label: str, advice: str = "Ask the operator to rename the class.") -> None:
    """A class's name may come from a server: it must not lead out of the folder, nor into one of ours.

    Args:
        label: the name.
        advice: what to do about a bad one; who typed it can choose another.

    Raises:
        DataError: no folder can have this name here.
    """
    if not label:
        raise DataError("A class without a name cannot be.", slug="bad-class-name", next="Give it a name.")
    bad = hidden(label) or label in _STATE_OF or label == OWN or any(c in "/\\" or not c.isprintable() for c in label)
    if bad or len(label.encode(errors="replace")) > _LONGEST_NAME:
        raise DataError(
            f"The class {label[:64]!r} cannot name a folder.",
            slug="bad-class-name",
            next=advice,
        )


def _storable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # a name that is no text
        return False
    return True
