"""Has a folder changed since it was looked through?  Seen from the times of all folders in it, not from their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fanlight.services.device.library.history import Move
from fanlight.services.device.library.layout import changed_at


class Stamps:
    """Times of the last change of all folders, as they were when all of them were looked through."""

    def __init__(self) -> None:
        self._times: Mapping[str, int] = {}

    def keep(self, times: Mapping[str, int]) -> None:
        """They have been looked through; ``times`` (ns) are from before that."""
        self._times = times

    @property
    def hold(self) -> bool:
        """Is everything as it was?"""
        return bool(self._times) and all(changed_at(folder) == time for folder, time in self._times.items())

    @contextmanager
    def moving(self, root: Path, moves: Sequence[Move]) -> Iterator[None]:
        """What is moved meanwhile, and nothing else, is no change that has to be looked for.

        Args:
            root: of the paths.
            moves: what is meant to be moved; anything else that happens in these folders is noticed as ever.
        """
        left, come = _names(root, (before for before, _ in moves)), _names(root, (after for _, after in moves))
        folders = left.keys() | come.keys()
        names = {folder: _listed(folder) for folder in folders}
        known = all(self._times.get(folder) == changed_at(folder) for folder in folders)
        yield
        if not known:
            return
        times = {folder: changed_at(folder) for folder in folders}  # before looking: what comes later is noticed
        none: set[str] = set()
        if all(_listed(name) == names[name] - left.get(name, none) | come.get(name, none) for name in folders):
            self._times = {**self._times, **times}


def _names(root: Path, paths: Iterator[str]) -> dict[str, set[str]]:
    """File names by folder."""
    found: dict[str, set[str]] = {}
    for path in paths:
        found.setdefault(str((root / path).parent), set()).add(path.rpartition("/")[2])
    return found


def _listed(folder: str) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except OSError:
        return set()
