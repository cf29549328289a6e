"""One SQLite database for one role, through SQLAlchemy Core.

The rules, and why they hold:

1. Every change happens inside ``transaction()``, which commits all of it or none.  ``BEGIN IMMEDIATE`` takes SQLite's
   write lock first, so that no transaction reads a state that another one is about to change.
2. One writer at a time: a lock in this process makes threads queue in order instead of meeting SQLite's busy error.
3. What is committed survives a power cut: write-ahead log with ``synchronous=FULL``. Who says so may have it without
   that promise, where it can be found again: it then survives once the next change is committed that has it.
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
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from fanlight.errors import from_os_error
from fanlight.storage.failures import from_database_error, os_failures
from fanlight.storage.folders import OWNER_ONLY_FILE, make_private_folder

DATABASE_FILE: Final = "state.sqlite3"
"""In the state folder of each role."""
DRIVER: Final = "driver"
"""The execution option of a transaction's connection under which SQLite's own is."""
_MOST_IDLE: Final = 5
"""Connections that are kept for the next transactions; more are open while more are read from at once."""
# 512 kB a connection: the system has the same pages in its own cache, and rows in the way of a round are rarely long
_PRAGMAS: tuple[str, ...] = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-512",
    "secure_delete=ON",  # what is deleted is overwritten, however SQLite was built
)
_UNSYNCED, _SYNCED = "PRAGMA synchronous=NORMAL", "PRAGMA synchronous=FULL"
"""In a write-ahead log, the former syncs only what goes from it to the database, and the log before that."""


class Database:
    """A SQLite database in a file, or in memory.

    Args:
        path: the database file, made with its folder if missing; None keeps everything in memory.
        busy_timeout_ms: how long to wait for another process that holds the file.
        read_only: a file that is there is read, also by whoever may not write it; it is neither made nor changed.

    Attributes:
        commits: how many transactions this process has committed; what was read stays true while it stays.

    Raises:
        StorageError: the file or its folder cannot be made.
    """

    def __init__(self, path: Path | None, *, busy_timeout_ms: int = 10_000, read_only: bool = False) -> None:
        self.path = path
        self.commits = 0
        self._writing = threading.Lock()
        self._writer: int | None = None
        if path is not None and not read_only:
            _make_private_file(path)
        self._engine = _engine(path, busy_timeout_ms, read_only=read_only)
        self._lines = _Lines(self._engine, "the database in memory" if path is None else str(path))

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """Change things, all or nothing; safe from many threads, which take turns.

        Args:
            durable: else a power cut may undo it, with all that was committed after it without that promise.

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
                with _Block(self._lines, "BEGIN IMMEDIATE", durable=durable) as tx:
                    yield tx
                    self._engine.dialect.do_commit(tx.connection)
                self.commits += 1
            finally:
                self._writer = None

    def reading(self) -> AbstractContextManager[Connection]:
        """Read one state of the database, without waiting for those who write.

        Returns:
            a block with a SQLAlchemy connection; what it would change is taken back.

        Raises:
            StorageError: in the block: the database or the disk failed.
        """
        return (
            self.transaction() if self.path is None else _Block(self._lines, "BEGIN")
        )  # in memory, it has one connection

    def close(self) -> None:
        """Close all connections; a file database then is one file again."""
        self._lines.close()
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


class _Block:
    """A block in a transaction, begun by the statement ``how``; what is not committed by its end is undone.

    A class, and no generators one within the other, which take several times as long: a round has dozens of them.
    """

    def __init__(self, lines: _Lines, how: str, *, durable: bool = True) -> None:
        self._lines = lines
        self._how = how
        self._durable = durable

    def __enter__(self) -> Connection:
        try:
            self._line = self._lines.take()
            try:
                return self._line.begin(self._how, durable=self._durable)
            except BaseException:
                self._end()
                raise
        except Exception as error:
            self._lines.name(error)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._end()
        except Exception as failed:
            self._lines.name(failed)
            raise
        if error is not None:
            self._lines.name(error)

    def _end(self) -> None:
        try:
            self._line.end()
        finally:
            self._lines.give_back(self._line)


class _Lines:
    """The connections to a database, for one block after the other.

    Args:
        engine: makes them.
        place: the database, as errors name it.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._place = place
        self._idle: list[_Line] = []
        self._most_idle = _MOST_IDLE

    def take(self) -> _Line:
        """One that nobody else has."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Line(self._engine)

    def give_back(self, line: _Line) -> None:
        """The block is over."""
        if len(self._idle) < self._most_idle and not line.is_stuck:
            self._idle.append(line)
        else:
            line.close()

    def name(self, error: BaseException) -> None:
        """Raise what is to leave here for an error, if it is one of the database or the disk."""
        if isinstance(error, SQLAlchemyError | sqlite3.Error):
            raise from_database_error(error, self._place) from error
        if isinstance(error, OSError):
            raise from_os_error(error, self._place) from error

    def close(self) -> None:
        """Close those that are idle, and keep none any more."""
        self._most_idle = 0
        while self._idle:
            self._idle.pop().close()


class _Line:
    """A connection to the database, on which one transaction follows the other.

    They are begun and ended here and not by SQLAlchemy, for which that takes ten times as long as for SQLite. It is in
    a transaction of its own all the time, so that it begins none.
    """

    def __init__(self, engine: Engine) -> None:
        connection = engine.connect()
        connection.begin()
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._connection = connection.execution_options(**{DRIVER: driver})
        self._driver = driver
        self._is_synced = True

    @property
    def is_stuck(self) -> bool:
        """Is it in a transaction that could not be ended, or without the promise that what it commits is durable?"""
        return self._driver.in_transaction or not self._is_synced

    def begin(self, how: str, *, durable: bool) -> Connection:
        """Begin a transaction by the statement ``how``; what it commits is durable, or not."""
        if not durable:
            self._is_synced = False
            self._driver.execute(_UNSYNCED)
        self._driver.execute(how)
        return self._connection

    def end(self) -> None:
        """End it; what was not committed is undone."""
        try:
            self._driver.rollback()  # does nothing after a commit
        finally:
            if not self._is_synced:
                self._driver.execute(_SYNCED)
                self._is_synced = True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _make_private_file(path: Path) -> None:
    make_private_folder(path.parent)
    with os_failures(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY_FILE))
        path.chmod(OWNER_ONLY_FILE)


def _engine(path: Path | None, busy_timeout_ms: int, *, read_only: bool) -> Engine:
    # each connection to ":memory:" is a database of its own, so there is only one
    pool = StaticPool if path is None else NullPool
    target = ":memory:" if path is None else str(path)
    if path is not None and read_only:
        target = f"{path.resolve().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:  # no URL of SQLAlchemy's, which gives a meaning to characters of a path
        return sqlite3.connect(target, timeout=busy_timeout_ms / 1000, check_same_thread=False, uri=read_only)

    engine = create_engine("sqlite://", creator=connect, poolclass=pool)
    event.listen(engine, "connect", _prepare_connection)
    return engine


def _prepare_connection(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 must not open transactions by itself: lines do
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
