"""One secret at a time in a file of its own, written in place: whatever takes its place destroys it.

Neither a name nor a length changes, so it costs one sync to write or to destroy it, and a full disk refuses neither.
A record lies within one sector of the disk, which is written whole or not at all; who reads it compares a hash.
Overwriting is best effort, as in ``secret_files``.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from fanlight.errors import StorageError
from fanlight.storage.failures import os_failures
from fanlight.storage.folders import OWNER_ONLY_FILE, sync_folder
from fanlight.storage.secret_files import refuse_public

SECRET_BYTES: Final = 32
_RECORD: Final = struct.Struct(f">Q{SECRET_BYTES}s24s")
"""Number, secret, the first bytes of the SHA-256 of both."""
_NOTHING: Final = bytes(_RECORD.size)


class Numbered(NamedTuple):
    """A secret of 32 bytes, and what it is for: a number from 0 to 2⁶⁴ - 1."""

    number: int
    secret: bytes


class SecretSlot:
    """The file ``path``, readable by its owner only; made durably if it is missing. Its folder must exist.

    Raises:
        StorageError: others can read or write it, it is no file of this kind, or the disk failed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with os_failures(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, OWNER_ONLY_FILE)
            try:
                found = os.fstat(handle)
                refuse_public(path, found.st_mode)
                if found.st_size > _RECORD.size:
                    raise StorageError(f"{path} is longer than {_RECORD.size} bytes: this is no file of Fanlight's.")
                if found.st_size < _RECORD.size:  # new, or of a process that died while it made it
                    os.pwrite(handle, _NOTHING, 0)
                    os.fsync(handle)
                    sync_folder(path.parent)
            finally:
                os.close(handle)

    def read(self) -> Numbered | None:
        """What is in it; None if that was destroyed, or is damaged."""
        with os_failures(self._path), self._path.open("rb") as stream:
            record = stream.read(_RECORD.size)
        if len(record) < _RECORD.size:
            return None
        number, secret, check = _RECORD.unpack(record)
        return Numbered(number, secret) if check == _check(number, secret) else None

    def write(self, number: int, secret: bytes) -> None:
        """Keep a secret, durably; the one before is gone."""
        self._overwrite(_RECORD.pack(number, secret, _check(number, secret)))

    def destroy(self) -> None:
        """Overwrite it with zeros, durably."""
        self._overwrite(_NOTHING)

    def _overwrite(self, record: bytes) -> None:
        with os_failures(self._path):
            handle = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.pwrite(handle, record, 0)
                os.fdatasync(handle)
            finally:
                os.close(handle)


def _check(number: int, secret: bytes) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big") + secret).digest()[:24]
