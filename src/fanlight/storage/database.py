"""One SQLite database for one role, through SQLAlchemy Core.

The rules, and why they hold:

1. Every change happens inside ``transaction()``, which commits all of it or none.  ``BEGIN IMMEDIATE`` takes SQLite's
   write lock first, so that no transaction reads a state that another one is about to change.
2. One writer at a time: a lock in this process makes threads queue in order instead of meeting SQLite's busy error.
3. What is committed survives a power cut: write-ahead log with ``synchronous=FULL``.
4. The files are readable by their owner only.  SQLite gives its log and index the mode of the main file, so that one
   is made first.
5. Whoever only reads sees what was committed when it began, and waits for nobody, neither for who writes nor for a
   connection: so it may do so on an event loop.  As many connections are out as threads use at once, and few stay.
6. Whatever SQLAlchemy, SQLite or the operating system raise leaves here as ``StorageError``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from fanlight.errors import from_os_error
from fanlight.storage.failures import from_database_error, os_failures
from fanlight.storage.folders import OWNER_ONLY_FILE, make_private_folder

DATABASE_FILE: Final = "state.sqlite3"
"""In the state folder of each role."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


class Database:
    """A SQLite database in a file, or in memory.

    Args:
        path: the database file, made with its folder if missing; None keeps everything in memory.
        busy_timeout_ms: how long to wait for another process that holds the file.

    Attributes:
        commits: how many transactions this process has committed; what was read stays true while it stays.

    Raises:
        StorageError: the file or its folder cannot be made.
    """

    def __init__(self, path: Path | None, *, busy_timeout_ms: int = 10_000) -> None:
        self.path = path
        self.commits = 0
        self._name = "the database in memory" if path is None else str(path)
        self._writing = threading.Lock()
        self._writer: int | None = None
        if path is not None:
            _make_private_file(path)
        self._engine = _engine(path, busy_timeout_ms)
        self._readers = self._engine.execution_options(reading=True)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Change things, all or nothing; safe from many threads, which take turns.

        Yields:
            a SQLAlchemy connection inside ``BEGIN IMMEDIATE``.

        Raises:
            StorageError: the database or the disk failed, with nothing changed.
            RuntimeError: this thread already is in a transaction (it would wait for itself for ever).
        """
        if self._writer == threading.get_ident():
            raise RuntimeError("a transaction inside a transaction: pass the outer one on instead")
        with self._writing:
            self._writer = threading.get_ident()
            try:
                with self._failures(), self._engine.begin() as connection:
                    yield connection
                self.commits += 1
            finally:
                self._writer = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read one state of the database, without waiting for those who write.

        Yields:
            a SQLAlchemy connection; what it would change is taken back.

        Raises:
            StorageError: the database or the disk failed.
        """
        if self.path is None:  # it has one connection
            with self.transaction() as tx:
                yield tx
            return
        with self._failures(), self._readers.connect() as connection:
            connection.begin()  # now, or each statement that the driver runs would see a state of its own
            yield connection

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise from_database_error(error, self._name) from error
        except OSError as error:
            raise from_os_error(error, self._name) from error

    def close(self) -> None:
        """Close all connections; a file database then is one file again."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _make_private_file(path: Path) -> None:
    make_private_folder(path.parent)
    with os_failures(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE))
        path.chmod(OWNER_ONLY_FILE)


def _engine(path: Path | None, busy_timeout_ms: int) -> Engine:
    # each connection to ":memory:" is a database of its own, so there is only one
    options: dict[str, Any] = {"poolclass": StaticPool}
    if path is not None:
        options = {"poolclass": QueuePool, "max_overflow": -1}  # a bound would make an event loop wait for its turn
    target = ":memory:" if path is None else str(path)

    def connect() -> sqlite3.Connection:  # no URL: a path may contain characters that a URL gives a meaning to
        return sqlite3.connect(target, timeout=busy_timeout_ms / 1000, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, **options)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 must not open transactions by itself: "begin" below does
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # SQLAlchemy takes ten times as long for a statement
    driver.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
