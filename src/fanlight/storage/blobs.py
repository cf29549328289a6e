"""A folder of files that are too large for a database row: masked vectors, models, reports.

A file appears under its name only when all of it is on the disk: bytes go to a partial file, which is synced, renamed
and then made durable by syncing the folder. (What can be made again may do without the syncs: after a power cut a file
of that name may be gone, or hold anything, and whoever reads it compares its hash.) Partial files of an earlier process
are swept away at start; unfinished ones, which arrive over several tries, are kept until somebody gives them up. A file
that is appended to grows instead: what lies in it is known to whoever keeps where each part begins, and only parts that
were appended whole are kept.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fanlight.errors import MalformedMessage, MessageTooLarge, NotFound, StorageError, disk_full, from_os_error
from fanlight.storage.failures import os_failures
from fanlight.storage.folders import OWNER_ONLY_FILE, make_private_folder, sync_folder
from fanlight.storage.unfinished import Unfinished

# lower case only: some file systems do not tell cases apart; no leading dot: those are partial files
_NAME = re.compile(r"[0-9a-z][0-9a-z_-]{0,159}(\.[0-9a-z]{1,16})?")
_PARTIAL = ".partial"
_UNFINISHED = ".unfinished"
_partial_numbers = itertools.count()


class BlobWriter:
    """One file on its way to the disk: ``write`` pieces, then ``commit``.  Made by ``BlobFolder.writer``."""

    def __init__(self, target: Path, partial: Path, expected_size: int | None, limit: int) -> None:
        self._target = target
        self._partial = partial
        self._expected = expected_size
        self._limit = limit if expected_size is None else min(limit, expected_size)
        self._size = 0
        self._stream: BinaryIO = os.fdopen(
            os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY_FILE),
            "wb",
        )

    def write(self, piece: bytes | memoryview) -> None:
        """Append ``piece``.

        Raises:
            MessageTooLarge: more bytes than expected or allowed; the piece was not written.
            StorageError: the disk is full or failed.
        """
        if self._size + len(piece) > self._limit:
            raise MessageTooLarge(f"{self._target.name}: more than {self._limit:,} bytes.")
        with os_failures(self._target.parent):
            self._stream.write(piece)
        self._size += len(piece)

    def commit(self, name: Callable[[], str] | None = None, *, durably: bool = True) -> None:
        """Make the file durable and visible under its name, replacing an older one.

        Args:
            name: says what it is called after all, as for ``writer``; asked only when all of it is written, and synced.
            durably: else only visible.

        Raises:
            MalformedMessage: fewer bytes than expected.
            StorageError: bad name, or the disk is full or failed.
        """
        if self._expected is not None and self._size != self._expected:
            raise MalformedMessage(f"{self._target.name}: {self._size:,} bytes instead of {self._expected:,}.")
        with os_failures(self._target.parent):
            self._stream.flush()
            if durably:
                os.fsync(self._stream.fileno())
            self._stream.close()
            self._partial.replace(_path(self._target.parent, name()) if name else self._target)
            if durably:
                sync_folder(self._target.parent)

    def discard(self) -> None:
        """Forget what was not committed; after a commit this does nothing."""
        with suppress(OSError):  # closing flushes, which on a full disk fails once more
            self._stream.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)


class BlobFolder:
    """An owner-only folder of files, used by one process.

    Args:
        root: the folder, made if missing; partial files in it are deleted.

    Raises:
        StorageError: the folder cannot be made or read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._renaming = threading.Lock()
        make_private_folder(root)
        with os_failures(root):
            for leftover in root.glob(f".*{_PARTIAL}"):
                leftover.unlink()

    @contextmanager
    def writer(self, name: str, expected_size: int | None, limit: int) -> Iterator[BlobWriter]:
        """Write a file piece by piece; leaving the block without ``commit`` deletes what was written.

        Args:
            name: lower-case letters, digits, ``-`` and ``_``, with at most one extension.
            expected_size: exact number of bytes to come, if known; room for them is checked before the first.
            limit: most bytes to accept.

        Raises:
            MessageTooLarge: ``expected_size`` is above ``limit``.
            StorageError: bad name, no room (says how many bytes are missing), or the disk failed.
        """
        target = self._path(name)
        if expected_size is not None:
            self._check_room(name, expected_size, limit)
        partial = self.root / f".{name}.{os.getpid()}-{next(_partial_numbers)}{_PARTIAL}"
        with os_failures(self.root):
            writer = BlobWriter(target, partial, expected_size, limit)
        try:
            yield writer
        finally:
            writer.discard()

    def write_stream(
        self,
        name: str,
        chunks: Iterable[bytes | memoryview],
        expected_size: int | None,
        limit: int,
        *,
        durably: bool = True,
    ) -> None:
        """Write all ``chunks`` to the file ``name``; arguments and errors as in ``writer`` and ``BlobWriter``."""
        with self.writer(name, expected_size, limit) as writer:
            for chunk in chunks:
                writer.write(chunk)
            writer.commit(durably=durably)

    def append(self, name: str, chunks: Iterable[bytes | memoryview], size: int) -> int:
        """Add all ``chunks``, of ``size`` bytes together, to the end of the file ``name``, durably; made if missing.

        Only the file itself has to be synced for what is added to one that is there. What a failure, or a power cut,
        leaves of it lies behind all that was appended before. One thread at a time may append to a file.

        Returns:
            the byte at which what was added begins.

        Raises:
            StorageError: bad name, no room, or the disk failed.
        """
        path = self._path(name)
        self._check_room(name, size, size)
        with os_failures(self.root):
            start = path.stat().st_size if path.exists() else 0
            flags = os.O_WRONLY | os.O_APPEND | (0 if start else os.O_CREAT)
            with os.fdopen(os.open(path, flags, OWNER_ONLY_FILE), "ab") as stream:
                for chunk in chunks:
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            if not start:
                sync_folder(self.root)
        return start

    def read(self, name: str) -> bytes:
        """All bytes of the file ``name``.

        Raises:
            NotFound: there is no such file.
            StorageError: bad name, or the disk failed.
        """
        with self.open(name) as stream, os_failures(self.root):
            return stream.read()

    def open(self, name: str) -> BinaryIO:
        """The file ``name``, opened for reading (the caller closes it); errors as in ``read``."""
        path = self._path(name)
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"{self.root} has no file {name!r}.") from error
        except OSError as error:
            raise from_os_error(error, str(path)) from error

    def exists(self, name: str) -> bool:
        """Whether a complete file ``name`` is there."""
        return self._path(name).is_file()

    def size(self, name: str) -> int:
        """The size of the file ``name`` in bytes; errors as in ``read``."""
        with self.open(name) as stream:
            return os.fstat(stream.fileno()).st_size

    def delete(self, *names: str, durably: bool = True) -> None:
        """Delete files; a missing one is no error. What need not be gone for sure may come back after a power cut."""
        paths = [self._path(name) for name in names]
        with os_failures(self.root):
            for path in paths:
                path.unlink(missing_ok=True)
            if paths and durably:
                sync_folder(self.root)

    def unfinished(self, name: str, expected_size: int, limit: int) -> Unfinished:
        """What has arrived of the file ``name``, to be continued; arguments and errors as in ``writer``."""
        target, path = self._path(name), self.root / f".{name}{_UNFINISHED}"
        here = path.stat().st_size if path.exists() else 0
        self._check_room(name, expected_size, limit, here)
        return Unfinished(path, target, self._renaming)

    def give_up(self, name: str) -> None:
        """Delete what has arrived of the unfinished file ``name``, if anything."""
        self._path(name)
        with os_failures(self.root), self._renaming:
            (self.root / f".{name}{_UNFINISHED}").unlink(missing_ok=True)

    def give_up_all(self, keep: str = "") -> None:
        """Delete all unfinished files, except that of ``keep``."""
        with os_failures(self.root), self._renaming:
            for name in os.listdir(self.root):  # noqa: PTH208 it takes less than a pattern
                if name.startswith(".") and name.endswith(_UNFINISHED) and name != f".{keep}{_UNFINISHED}":
                    (self.root / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The names of all complete files, sorted."""
        with os_failures(self.root):
            return sorted(path.name for path in self.root.iterdir() if _NAME.fullmatch(path.name))

    def _path(self, name: str) -> Path:
        return _path(self.root, name)

    def _check_room(self, name: str, size: int, limit: int, here: int = 0) -> None:
        if size > limit:
            raise MessageTooLarge(f"{name}: {size:,} bytes; at most {limit:,} are accepted.")
        with os_failures(self.root):
            disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        if free < size - here:
            raise disk_full(str(self.root), missing_bytes=size - here - free)


def _path(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise StorageError(f"{name!r} is no name for a file in {folder}.", slug="bad-file-name")
    return folder / name
