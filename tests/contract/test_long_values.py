"""Long values of rows are what was written, whole or not at all, and the row is where any statement finds it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, LargeBinary, MetaData, String, Table, func, insert, select

from fanlight.errors import StorageError
from fanlight.storage.database import Database
from fanlight.storage.long_values import read_long_value, write_long_value

FILES = Table("files", MetaData(), Column("name", String, primary_key=True), Column("content", LargeBinary))
CONTENT = bytes(range(256)) * 1_000
PIECES = (CONTENT[:1], memoryview(CONTENT)[1:100_000], CONTENT[100_000:])


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "state.sqlite3")
    with database.transaction() as tx:
        FILES.create(tx)
    return database


def add(tx: Connection, size: int) -> int:
    tx.execute(insert(FILES).values(name="long", content=func.zeroblob(size)))
    return int(tx.exec_driver_sql("SELECT rowid FROM files").scalar_one())


def test_a_value_written_in_pieces_is_the_same_to_everybody(database: Database) -> None:
    with database.transaction() as tx:
        row = add(tx, len(CONTENT))
        write_long_value(tx, FILES.c.content, row, PIECES)
    with database.reading() as tx:
        assert read_long_value(tx, FILES.c.content, row) == CONTENT
        assert tx.execute(select(FILES.c.content)).scalar_one() == CONTENT


def test_an_undone_transaction_leaves_nothing(database: Database) -> None:
    def write(pieces: Iterator[bytes]) -> None:
        with database.transaction() as tx:
            write_long_value(tx, FILES.c.content, add(tx, len(CONTENT)), pieces)

    with pytest.raises(ZeroDivisionError):
        write(bytes([1 // number]) for number in (1, 0))
    with database.reading() as tx:
        assert tx.execute(select(FILES.c.content)).first() is None


@pytest.mark.parametrize("size", [0, len(CONTENT) - 1])
def test_no_more_than_the_value_is_overwritten(database: Database, size: int) -> None:
    with pytest.raises((StorageError, ValueError)), database.transaction() as tx:
        write_long_value(tx, FILES.c.content, add(tx, size), PIECES)


def test_a_row_that_is_not_there_is_an_error_of_storage(database: Database) -> None:
    with pytest.raises(StorageError) as caught, database.reading() as tx:
        read_long_value(tx, FILES.c.content, 7)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
