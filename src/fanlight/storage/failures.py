"""What a disk or a database can do to us, as ``StorageError`` with advice that fits the cause.

Slugs: ``disk-full``, ``storage-conflict`` (a row contradicts another), ``storage-busy`` (another process holds the
database), ``storage-failed`` (everything else).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from fanlight.errors import StorageError, disk_full, from_os_error

_PRIMARY_CODE = 0xFF  # SQLite keeps the primary result code in the low byte of the extended one


@contextmanager
def os_failures(place: Path) -> Iterator[None]:
    """What the operating system refuses inside this block, at ``place``, as a ``StorageError``."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, str(place)) from error


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
