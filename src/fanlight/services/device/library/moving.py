"""Move files between folders, so that it can be undone.

What is about to be moved is written down first: after a power cut in between, undoing moves back what had been moved.
Nothing is ever overwritten.
"""

from __future__ import annotations

import os
from pathlib import Path

from fanlight.learning.folders import DELETED, UNLABELLED
from fanlight.services.device.library.history import History, Move
from fanlight.services.device.library.index import Index
from fanlight.services.device.library.layout import FOLDER_OF, Layout
from fanlight.services.device.library.records import Operation, State
from fanlight.storage.failures import os_failures


def to_class(layout: Layout, index: Index, labels: dict[str, str]) -> list[Move]:
    """Moves that put pictures (by content hash) into classes; of several copies one stays, the others go to the trash.

    Raises:
        DataError: a class's name cannot name a folder.
    """
    moves: list[Move] = []
    taken: set[str] = set()
    for sha256, paths in index.files_of(labels).items():
        places = {path: layout.place(path) for path in paths}
        kept = next((path for path in paths if (place := places[path]) and place.state == State.LABELLED), None)
        kept = kept or next((path for path in paths if _is(layout, path, State.UNLABELLED)), paths[0])
        place = places[kept]
        folder = layout.folder_for(labels[sha256], sha256, place.part if place else "")
        if not kept.startswith(f"{folder}/"):
            moves.append((kept, _free(layout, folder, kept, sha256, taken)))
        copies = [path for path in paths if path != kept and not _is(layout, path, State.DELETED)]
        moves.extend((path, _free(layout, DELETED, path, sha256, taken)) for path in copies)
    return moves


def aside(layout: Layout, index: Index, ids: list[str], state: State) -> list[Move]:
    """Moves that put all copies of pictures into the folder of ``state``."""
    taken: set[str] = set()
    return [
        (path, _free(layout, FOLDER_OF[state], path, sha256, taken))
        for sha256, paths in index.files_of(ids).items()
        for path in paths
        if not _is(layout, path, state) and not _is(layout, path, State.DELETED)
    ]


def back(layout: Layout, index: Index, history: History, ids: list[str]) -> list[Move]:
    """Moves that put deleted pictures where they were; those of which that is not known any more lose their label."""
    taken: set[str] = set()
    origins = history.origins()
    moves: list[Move] = []
    for sha256, paths in index.files_of(ids).items():
        if not all(_is(layout, path, State.DELETED) for path in paths):
            continue  # it is in use: only a copy is deleted
        path = paths[0]
        origin = origins.get(path, "")
        known = layout.place(origin) is not None and not _is(layout, origin, State.DELETED)
        folder = origin.rpartition("/")[0] if known else UNLABELLED
        moves.append((path, _free(layout, folder, origin if known else path, sha256, taken)))
    return moves


def perform(
    layout: Layout, index: Index, history: History, kind: str, moves: list[Move], now: int, onto: int | None = None
) -> int:
    """Move files; how many.  A file that has gone meanwhile is passed over.  ``onto``: as in ``History.put``.

    Raises:
        StorageError: the disk or the database failed; what was moved until then can be undone.
    """
    if not moves:
        return 0
    history.put(kind, moves, now, onto)
    return len(_rename(layout.root, index, moves))


def rename_folder(layout: Layout, index: Index, before: str, after: str) -> None:
    """Rename the folder of a label, with all that lies in it; nothing if it is not there.

    Raises:
        StorageError: the disk refuses, or the new name is taken.
    """
    paths = [path for path in index.files() if path.startswith(f"{before}/")]
    with os_failures(layout.root):
        if not (layout.root / before).is_dir():
            return
        (layout.root / before).rename(layout.root / after)
    index.renamed([(path, f"{after}{path.removeprefix(before)}") for path in paths])


def undo(layout: Layout, index: Index, history: History) -> Operation | None:
    """Take the last operation back; None if there is none."""
    last = history.last()
    if last is None:
        return None
    number, kind, moves = last
    done = _rename(layout.root, index, [(after, before) for before, after in reversed(moves)])
    history.forget(number)
    return Operation(kind, len(done), _label(layout, moves))


def undoable(layout: Layout, history: History) -> Operation | None:
    """What ``undo`` would take back, as it was written down; None if there is nothing."""
    last = history.last()
    if last is None:
        return None
    _number, kind, moves = last
    return Operation(kind, len(moves), _label(layout, moves))


def _rename(root: Path, index: Index, moves: list[Move]) -> list[Move]:
    done: list[Move] = []
    try:
        with os_failures(root):
            for before, after in moves:
                if os.path.lexists(root / before) and not os.path.lexists(root / after):
                    (root / after).parent.mkdir(parents=True, exist_ok=True)
                    (root / before).rename(root / after)
                    done.append((before, after))
    finally:
        index.renamed(done)
    return done


def _label(layout: Layout, moves: list[Move]) -> str | None:
    labels = {place.label for _before, after in moves if (place := layout.place(after)) and place.label}
    return labels.pop() if len(labels) == 1 else None


def _is(layout: Layout, path: str, state: State) -> bool:
    place = layout.place(path)
    return place is not None and place.state == state


def _free(layout: Layout, folder: str, path: str, sha256: str, taken: set[str]) -> str:
    found = layout.free_path(folder, path.rpartition("/")[2], sha256, taken)
    taken.add(found)
    return found
