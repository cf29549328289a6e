"""One process a state folder: a second one would sweep away what the first is writing, and wake none of its waiters."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from fanlight.errors import StorageError, from_os_error
from fanlight.storage.folders import OWNER_ONLY_FILE, make_private_folder

LOCK_FILE: Final = "in-use"


class FolderLock:
    """An advisory lock (flock) on a file in ``folder``; it goes with the process, however that ends.

    Args:
        folder: which; made if missing.
        private: make it its owner's alone, as what holds keys must be; else it stays as it is.
    """

    def __init__(self, folder: Path, *, private: bool = True) -> None:
        self._folder = folder
        self._private = private
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the folder.

        Raises:
            StorageError: another process has it (slug ``state-in-use``), or it cannot be used.
        """
        if self._private:
            make_private_folder(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE)
        except OSError as error:
            raise from_os_error(error, str(self._folder)) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise StorageError(
                f"Another process works with {self._folder}.",
                next="Stop it first, or give this one a folder of its own.",
                slug="state-in-use",
            ) from error
        except OSError as error:
            os.close(handle)
            raise from_os_error(error, str(self._folder)) from error
        self._handle = handle

    def release(self) -> None:
        """Give the folder back; not holding it is no error."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
