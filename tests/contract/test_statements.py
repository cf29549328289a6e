"""What every ``Statement`` keeps to: what SQLAlchemy would have done with it, without its layers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Boolean, Column, Integer, LargeBinary, MetaData, String, Table, bindparam, func, insert, select
from sqlalchemy import delete as deleting
from sqlalchemy import update as updating
from sqlalchemy.dialects.sqlite import insert as upserting

from fanlight.errors import StorageError
from fanlight.storage.database import Database
from fanlight.storage.statements import Statement

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    Column("content", LargeBinary),
    Column("good", Boolean),
)
ADD = Statement(insert(things))
ALL = Statement(select(things).order_by(things.c.id))
RENAME = Statement(updating(things).where(things.c.id == bindparam("wanted")), "name", "good")
NAMED = Statement(select(things.c.id).where(things.c.name == bindparam("wanted")))


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with Database(None if request.param == "memory" else tmp_path / "state.sqlite3") as made:
        with made.transaction() as tx:
            metadata.create_all(tx)
            ADD.run(tx, id=1, name="one", content=b"\x00\xff", good=True)
            ADD.run(tx, id=2, name="two", content=None, good=None)
        yield made


def test_rows_are_those_of_sqlalchemy_with_the_types_of_their_columns(database: Database) -> None:
    with database.reading() as tx:
        found, expected = ALL.all(tx), tx.execute(select(things).order_by(things.c.id)).all()
    assert [tuple(row) for row in found] == [tuple(row) for row in expected]
    assert found[0].good is True
    assert found[0].content == b"\x00\xff"
    assert found[1].good is None


def test_a_value_is_given_by_the_name_of_its_parameter(database: Database) -> None:
    with database.reading() as tx:
        assert NAMED.scalar(tx, wanted="two") == 2
        assert NAMED.first(tx, wanted="three") is None
        assert NAMED.scalar(tx, wanted="three") is None


def test_values_in_the_statement_itself_stay(database: Database) -> None:
    statement = Statement(select(func.count()).select_from(things).where(things.c.name != "one").limit(1))
    with database.reading() as tx:
        assert statement.scalar(tx) == 1


def test_a_value_that_is_not_given_is_an_error_and_nothing_is_changed(database: Database) -> None:
    def change() -> None:
        with database.transaction() as tx:
            ADD.run(tx, id=3, name="three", content=None, good=None)
            RENAME.run(tx, wanted=1, name="uno")

    with pytest.raises(StorageError):
        change()
    with database.reading() as tx:
        assert [row.name for row in ALL.all(tx)] == ["one", "two"]


def test_only_the_named_columns_are_changed(database: Database) -> None:
    with database.transaction() as tx:
        RENAME.run(tx, wanted=1, name="uno", good=False)
    with database.reading() as tx:
        assert [tuple(row) for row in ALL.all(tx)] == [(1, "uno", b"\x00\xff", False), (2, "two", None, None)]


def test_it_sees_and_undoes_what_its_transaction_has_done(database: Database) -> None:
    row = upserting(things)
    putting = Statement(row.on_conflict_do_update(index_elements=["id"], set_={"name": row.excluded.name}))
    clearing = Statement(deleting(things))

    def change() -> None:
        with database.transaction() as tx:
            putting.run(tx, id=1, name="uno", content=None, good=None)
            assert NAMED.scalar(tx, wanted="uno") == 1
            clearing.run(tx)
            assert ALL.all(tx) == []
            raise ValueError("never mind")

    with pytest.raises(ValueError, match="never mind"):
        change()
    with database.reading() as tx:
        assert [row.name for row in ALL.all(tx)] == ["one", "two"]


def test_what_the_driver_raises_leaves_as_a_storage_error(database: Database) -> None:
    with pytest.raises(StorageError), database.transaction() as tx:
        ADD.run(tx, id=1, name="again", content=None, good=None)


def test_who_reads_sees_one_state_however_many_statements_it_runs(tmp_path: Path) -> None:
    with Database(tmp_path / "state.sqlite3") as database:
        with database.transaction() as tx:
            metadata.create_all(tx)
        with database.reading() as before:
            assert ALL.all(before) == []
            with database.transaction() as tx:
                ADD.run(tx, id=1, name="one", content=None, good=None)
            assert ALL.all(before) == []
        with database.reading() as after:
            assert len(ALL.all(after)) == 1


def test_who_reads_changes_nothing(tmp_path: Path) -> None:
    with Database(tmp_path / "state.sqlite3") as database:
        with database.transaction() as tx:
            metadata.create_all(tx)
        with database.reading() as reading:
            ADD.run(reading, id=1, name="one", content=None, good=None)
        with database.reading() as after:
            assert ALL.all(after) == []
