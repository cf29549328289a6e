"""What a disk or a database can do to us, as ``StorageError`` with advice that fits the cause.

Slugs: ``disk-full`` (no room, quota used up, or file size limit), ``storage-conflict`` (a row contradicts another),
``storage-busy`` (another process holds the database), ``storage-failed`` (everything else).
"""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

from fanlight.errors import StorageError

DISK_FULL = "disk-full"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PRIMARY_CODE = 0xFF  # SQLite keeps the primary result code in the low byte of the extended one


def from_os_error(error: OSError, place: str) -> StorageError:
    """The ``StorageError`` for what the operating system refused at ``place`` (a file or folder)."""
    if error.errno in _NO_ROOM:
        return disk_full(place)
    reason = error.strerror or str(error) or type(error).__name__
    return StorageError(
        f"{place}: {reason}.",
        next="Check that the folder exists and belongs to the user who runs this.",
    )


def disk_full(place: str, missing_bytes: int | None = None) -> StorageError:
    """No room at ``place``; ``missing_bytes`` says how much more would have been needed, where that is known."""
    missing = f" {missing_bytes:,} bytes more are needed." if missing_bytes else ""
    return StorageError(
        f"No room left on the disk that holds {place}.{missing}",
        next="Free some space on that disk, then try again; nothing was changed.",
        slug=DISK_FULL,
    )


def from_database_error(error: Exception, place: str) -> StorageError:
    """The ``StorageError`` for what SQLAlchemy or SQLite raised about the database at ``place``."""
    cause: BaseException | None = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    primary = code & _PRIMARY_CODE if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL:
        return disk_full(place)
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return StorageError(f"{place}: {cause}; nothing was changed.", slug="storage-conflict")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"{place} is held by another process.",
            next="Run each role once only, with a state folder of its own.",
            slug="storage-busy",
        )
    return StorageError(
        f"{place}: {cause or error}.",
        next="Check the disk, its free space and the file's owner.",
    )
