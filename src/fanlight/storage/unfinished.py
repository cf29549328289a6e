"""A file that arrives over several tries and is kept in between, over a restart, too.

Nothing of it is a promise: until it is complete, verified by whoever writes it, and committed, it may be gone, or hold
anything after a power cut.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from fanlight.errors import NotFound
from fanlight.storage.failures import os_failures
from fanlight.storage.folders import OWNER_ONLY_FILE, sync_folder


class Unfinished:
    """The beginning of a file, opened; made by ``BlobFolder.unfinished``.

    Several may be open for one file as long as they write the same bytes at the same places.

    Raises:
        StorageError: from every method: the disk is full or failed.
    """

    def __init__(self, path: Path, target: Path, renaming: threading.Lock) -> None:
        self._path = path
        self._target = target
        self._renaming = renaming  # whoever renames or deletes an unfinished file of the folder holds it
        with os_failures(path.parent):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; what was written stays."""
        os.close(self._handle)

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return os.fstat(self._handle).st_size

    def pieces(self, piece_bytes: int) -> Iterator[bytes]:
        """What is there from its beginning, in pieces of ``piece_bytes``; the last may be shorter."""
        at = 0
        with os_failures(self._path.parent):
            while piece := os.pread(self._handle, piece_bytes, at):
                yield piece
                at += len(piece)

    def write(self, at: int, data: bytes | memoryview) -> None:
        """Write ``data`` at the byte ``at``."""
        view = memoryview(data)
        with os_failures(self._path.parent):
            while view:
                written = os.pwrite(self._handle, view, at)
                view, at = view[written:], at + written

    def clear(self) -> None:
        """Begin anew."""
        with os_failures(self._path.parent):
            os.ftruncate(self._handle, 0)

    def commit(self) -> None:
        """Make it durable and visible under its name.

        Raises:
            NotFound: somebody has given it up meanwhile.
        """
        with os_failures(self._path.parent):
            os.fsync(self._handle)
            with self._renaming:
                if self._is_ours():  # else another one, which wrote the same bytes, was faster, and a third began anew
                    self._path.replace(self._target)
                elif not self._target.is_file():
                    raise NotFound(f"{self._target.name} was given up while it arrived.")
            sync_folder(self._path.parent)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._handle))
        except FileNotFoundError:
            return False
