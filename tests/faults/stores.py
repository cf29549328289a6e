"""Databases that die: the product's own ``Database``, in a file or in memory, with a process around it that can end.

A death strikes at a commit that changes something. Before it, the transaction is rolled back; after it, all is on the
disk and nobody has been answered. Either way the dead process touches its database no more, whatever its ``finally``
blocks try. The next life opens the same file; a database in memory begins anew from what its last commit left.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, Engine

from fanlight.services.aggregator import round_table as aggregator_rounds
from fanlight.services.main_server import round_table as main_rounds
from fanlight.storage.database import Database


class Kind(StrEnum):
    """Where databases lie."""

    MEMORY = "memory"
    SQLITE = "sqlite"


class Died(Exception):
    """The process has ended in the middle of what it did. No ``FanlightError``, so that nobody handles it."""


@dataclass
class Fate:
    """Whether a process lives, and at which of its next commits it dies.

    Attributes:
        is_dead: it has died, and was not started again.
        deaths: how often it has died.
    """

    is_dead: bool = False
    deaths: int = 0
    _commits: int | None = None
    _after: bool = False

    def seal(self, commits: int, *, after: bool) -> None:
        """It dies at its next commit but ``commits``, before or after that."""
        self._commits, self._after = commits, after

    def spare(self) -> None:
        """It dies no more."""
        self._commits = None

    def reach(self, *, after: bool) -> None:
        """The process is about to commit a change, or has done so.

        Raises:
            Died: as it was to.
        """
        if self._commits is None:
            return
        if self._commits == 0 and self._after == after:
            self.die()
            raise Died
        if after:
            self._commits -= 1

    def die(self) -> None:
        """End now."""
        self.is_dead, self._commits = True, None
        self.deaths += 1

    def check(self) -> None:
        """Raise ``Died`` in a dead process."""
        if self.is_dead:
            raise Died


@dataclass
class Store:
    """What outlives a role's deaths: the file of its database, or what its last commit left in memory.

    Attributes:
        kind: where it lies.
        fate: of the process.
        content: of the database in memory.
    """

    kind: Kind
    fate: Fate
    content: bytes = field(default=b"", repr=False)
    _opened: Database | None = None

    def open(self, path: Path) -> Database:
        """The role's database, for its next life, which remembers nothing of what it has in there."""
        main_rounds.records.forget()
        aggregator_rounds.records.forget()
        self._opened = MortalDatabase(path if self.kind is Kind.SQLITE else None, self)
        return self._opened

    def close(self) -> None:
        """Close what a process has left open."""
        if self._opened is not None:
            self._opened.close()


class MortalDatabase(Database):
    """The database of one life of a process.

    Args:
        path: the file; None if it is in memory.
        store: what outlives it.
    """

    def __init__(self, path: Path | None, store: Store) -> None:
        super().__init__(path)
        _share_statements(self._engine)
        self._store = store
        if path is None and store.content:
            self._raw().deserialize(store.content)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """As the product's, unless the process dies."""
        fate = self._store.fate
        fate.check()
        with super().transaction(durable=durable) as tx:
            before = _driver(tx).total_changes
            yield tx
            changed = _driver(tx).total_changes != before
            fate.check()  # it died while it was in here
            if changed:
                fate.reach(after=False)
        if changed:
            if self.path is None:
                self._store.content = self._raw().serialize()
            fate.reach(after=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """As the product's, unless the process is dead."""
        self._store.fate.check()
        with super().reading() as tx:
            yield tx

    def _raw(self) -> sqlite3.Connection:
        with self._engine.connect() as connection:
            return _driver(connection)


_first: dict[str, Engine] = {}


def _share_statements(engine: Engine) -> None:
    """Thousands of databases are opened and closed: none compiles statements that another one has compiled before."""
    first = _first.setdefault("engine", engine)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
