"""What became of an upload, as the page with pictures says it."""

from __future__ import annotations

from dataclasses import dataclass

from fanlight.consoles.device_pictures.asked import Asked
from fanlight.services.device.library.library import Library
from fanlight.services.device.library.records import Added, Filter, RefusedFile, State


@dataclass(frozen=True)
class Refusal:
    """Files that were not taken for the same ``reason``: their names, and what to do ``next``."""

    names: tuple[str, ...]
    reason: str
    next: str


@dataclass(frozen=True)
class Result:
    """An upload.

    Attributes:
        name: of it (``library.uploads``).
        added: what became of it.
        refused: what was not taken.
        kept: pictures that keep another label than was said: how many, which, and the address that shows them.
        offered: pictures without a label, by the class that their folder in a ZIP file is called like.
    """

    name: str
    added: Added
    refused: tuple[Refusal, ...]
    kept: tuple[tuple[int, str, str], ...]
    offered: dict[str, int]

    @property
    def tone(self) -> str:
        """As notes are coloured."""
        added = self.added
        left = added.refused or added.strange or added.kept or added.unusable
        return "good" if (added.count or added.given) and not left else "warn"


def result_of(library: Library, upload: str) -> Result | None:
    """What became of an upload; None if it is forgotten or never was."""
    added = library.uploads.get(upload)
    if added is None:
        return None
    kept = tuple((count, label, Asked(Filter(State.LABELLED, label)).href()) for label, count in added.kept.items())
    return Result(upload, added, _by_reason(added.refused), kept, library.offered(added.said))


def _by_reason(files: tuple[RefusedFile, ...]) -> tuple[Refusal, ...]:
    """One line a reason, in the order in which they came."""
    names: dict[tuple[str, str], list[str]] = {}
    for file in files:
        names.setdefault((file.reason, file.next), []).append(file.name)
    return tuple(Refusal(tuple(some), reason, todo) for (reason, todo), some in names.items())
