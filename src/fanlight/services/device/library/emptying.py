"""Empty the bin: the one place where Fanlight deletes an owner's files."""

from __future__ import annotations

from fanlight.services.device.library.history import History
from fanlight.services.device.library.index import Index
from fanlight.services.device.library.layout import Layout
from fanlight.services.device.library.records import State
from fanlight.storage.failures import os_failures


def empty_bin(layout: Layout, index: Index, history: History) -> int:
    """Delete the files of deleted pictures, and what is no picture beside them; how many.

    Raises:
        StorageError: the disk or the database failed; what was deleted until then is gone.
    """
    paths = [path for path in index.files() if (place := layout.place(path)) and place.state == State.DELETED]
    gone = []
    try:
        with os_failures(layout.root):
            for path in paths:
                (layout.root / path).unlink(missing_ok=True)
                gone.append(path)
    finally:
        index.forget_files(gone)
        history.forget_files(gone)
    return len(gone)
