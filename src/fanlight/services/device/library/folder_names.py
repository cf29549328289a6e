"""What the folders that pictures came in say of them: a folder named like a class labels what is in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from fanlight.services.device.library.layout import hidden, normal

_ADDED_BY_SYSTEMS = "__MACOSX"


def folders_of(path: str) -> tuple[str, ...]:
    """The folders in a path as a browser or an archive gives it; they are read, and never gone to."""
    parts = PurePosixPath(path.replace("\\", "/")).parts[:-1]
    return tuple(normal(part) for part in parts if part not in ("/", ".", ".."))


def passed_over(path: str) -> bool:
    """Is this a file that nobody put there: hidden, in a hidden folder, or added by an operating system?"""
    names = (*folders_of(path), PurePosixPath(path.replace("\\", "/")).name)
    return any(hidden(name) or name == _ADDED_BY_SYSTEMS for name in names)


class FolderNames:
    """Reads classes out of paths.

    Args:
        classes: the task's, as it spells them.
    """

    def __init__(self, classes: Iterable[str]) -> None:
        known = tuple(classes)
        self._exact = {normal(name): name for name in known}
        folded: dict[str, list[str]] = {}
        for name in known:
            folded.setdefault(normal(name).casefold(), []).append(name)
        self._folded = {key: names[0] for key, names in folded.items() if len(names) == 1}

    def label(self, path: str) -> str | None:
        """The class that the innermost folder of that name says, ``Cat`` as well as ``cat``; None if none does."""
        for folder in reversed(folders_of(path)):
            found = self._exact.get(folder) or self._folded.get(folder.casefold())
            if found is not None:
                return found
        return None
