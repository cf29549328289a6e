"""Statements that run many times a round: compiled once, and given to SQLite's driver as they are.

A round consists of some hundred statements. To build one anew takes SQLAlchemy about 100 µs, to run one that was built
before about 30, and the driver 5; so those of a round are made once, when their module is loaded, with a parameter for
whatever changes. They run on the connection of the caller's transaction, between whatever else is done there.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects import sqlite

_DIALECT: Final = sqlite.dialect(paramstyle="named")


class Statement:
    """One statement, safe to share between threads.

    Args:
        core: with a ``bindparam`` for each value that changes, and no list of values that grows.
        columns: of an insert or update whose values are parameters, named as they are; by default, of an insert all.
    """

    def __init__(self, core: Select[Any] | Insert | Update | Delete, *columns: str) -> None:
        compiled = core.compile(dialect=_DIALECT, column_keys=columns or None)
        self._sql = str(compiled)
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        results = list(core.exported_columns) if isinstance(core, Select) else []
        self._row = _row_type([column.name for column in results])
        readers = [(column.name, column.type.result_processor(_DIALECT, None)) for column in results]
        self._readers = [(name, reader) for name, reader in readers if reader is not None]

    def run(self, tx: Connection, **values: Any) -> None:
        """Run it, for what it changes."""
        self._execute(tx, values)

    def all(self, tx: Connection, **values: Any) -> list[Any]:
        """The rows that it finds, with attributes named as the columns are."""
        return [self._read(row) for row in self._execute(tx, values).fetchall()]

    def first(self, tx: Connection, **values: Any) -> Any | None:
        """The first row, if there is one."""
        rows = self.all(tx, **values)
        return rows[0] if rows else None

    def scalar(self, tx: Connection, **values: Any) -> Any:
        """The first column of the first row; None if there is none."""
        row = self.first(tx, **values)
        return None if row is None else row[0]

    def _execute(self, tx: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        driver = tx.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver.execute(self._sql, {**self._fixed, **values})

    def _read(self, found: Iterable[Any]) -> Any:
        row = self._row._make(found)
        if not self._readers:
            return row
        return row._replace(**{name: read(getattr(row, name)) for name, read in self._readers})


def _row_type(names: Sequence[str]) -> Any:
    return namedtuple("Row", names, rename=True)  # noqa: PYI024 the names are not known before
