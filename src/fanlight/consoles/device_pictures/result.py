"""What became of an upload, as the page with pictures says it."""

from __future__ import annotations

from dataclasses import dataclass

from fanlight.services.device.library.records import Added, RefusedFile


@dataclass(frozen=True)
class Refusal:
    """Files that were not taken for the same ``reason``: their names, and what to do ``next``."""

    names: tuple[str, ...]
    reason: str
    next: str


@dataclass(frozen=True)
class Result:
    """An upload: what was ``added``, and ``refused``."""

    added: Added
    refused: tuple[Refusal, ...]


def result_of(added: Added) -> Result:
    """The words for an upload."""
    return Result(added, _by_reason(added.refused))


def _by_reason(files: tuple[RefusedFile, ...]) -> tuple[Refusal, ...]:
    """One line a reason, in the order in which they came."""
    names: dict[tuple[str, str], list[str]] = {}
    for file in files:
        names.setdefault((file.reason, file.next), []).append(file.name)
    return tuple(Refusal(tuple(some), reason, todo) for (reason, todo), some in names.items())
