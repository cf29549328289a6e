"""Statements that run many times a round: compiled once, and given to SQLite's driver as they are.

A round consists of some hundred statements. To build one anew takes SQLAlchemy about 100 µs, to run one that was built
before about 30, and the driver 5; so those of a round are made once, when their module is loaded, with a parameter for
whatever changes. They run on the connection of the caller's transaction, between whatever else is done there.
"""

from __future__ import annotations

import functools
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeEngine

from fanlight.storage.database import DRIVER

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
        results = core.exported_columns if isinstance(core, Select) else ()
        self._row = _maker([column.name for column in results], [column.type for column in results])

    def run(self, tx: Connection, **values: Any) -> None:
        """Run it, for what it changes."""
        self._execute(tx, values)

    def all(self, tx: Connection, **values: Any) -> list[Any]:
        """The rows that it finds, with attributes named as the columns are."""
        return [*map(self._row, self._execute(tx, values))]

    def first(self, tx: Connection, **values: Any) -> Any | None:
        """The first row, if there is one."""
        found = self._execute(tx, values).fetchall()
        return self._row(found[0]) if found else None

    def scalar(self, tx: Connection, **values: Any) -> Any:
        """The first column of the first row; None if there is none."""
        found = self._execute(tx, values).fetchall()
        return self._row(found[0])[0] if found else None

    def _execute(self, tx: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        driver: sqlite3.Connection = tx.get_execution_options()[DRIVER]
        return driver.execute(self._sql, {**self._fixed, **values})


def _maker(names: Sequence[str], types: Sequence[TypeEngine[Any]]) -> Callable[[Sequence[Any]], Any]:
    """What makes a row, with these ``names`` as attributes and values of these ``types``, of what the driver found."""
    make = functools.partial(tuple.__new__, namedtuple("Row", names, rename=True))  # noqa: PYI024 no names are known
    readers = [kind.result_processor(_DIALECT, None) for kind in types]
    typed = [(place, read) for place, read in enumerate(readers) if read is not None]
    if not typed:
        return make

    def read(found: Sequence[Any]) -> Any:
        values = list(found)
        for place, reader in typed:
            values[place] = reader(values[place])
        return make(values)

    return read
