"""A long value of a row, written and read where it lies (https://www.sqlite.org/c3ref/blob_open.html).

As a parameter of a statement SQLite would copy it twice before it writes it, and as a result twice before we have it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Connection


def write_long_value(tx: Connection, column: Column[Any], row: int, pieces: Iterable[bytes | memoryview]) -> None:
    """Write the bytes of ``pieces`` over a value of the same length, ``zeroblob(n)``; errors leave by ``tx``.

    Args:
        tx: the caller's transaction.
        column: the last one of its table: else SQLite makes the value in memory all the same.
        row: its rowid.
        pieces: the value.
    """
    with _driver(tx).blobopen(column.table.name, column.name, row) as value:
        for piece in pieces:
            value.write(piece)


def read_long_value(tx: Connection, column: Column[Any], row: int) -> bytes:
    """The value of ``column`` in the row with that rowid."""
    with _driver(tx).blobopen(column.table.name, column.name, row, readonly=True) as value:
        return value.read()


def _driver(tx: Connection) -> sqlite3.Connection:
    driver = tx.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
