"""A death before a commit undoes the transaction, one after it does not, and the dead touch nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from fanlight.storage.database import Database
from tests.faults.stores import Died, Fate, Kind, Store


def opened(kind: Kind, folder: Path) -> tuple[Store, Database]:
    store = Store(kind, Fate())
    database = store.open(folder / "state.sqlite3")
    with database.transaction() as tx:
        tx.execute(text("CREATE TABLE said (word TEXT)"))
        tx.execute(text("INSERT INTO said VALUES ('zero')"))
    return store, database


def say(database: Database, word: str) -> None:
    with database.transaction() as tx:
        tx.execute(text("INSERT INTO said VALUES (:word)"), {"word": word})


def said(database: Database) -> list[str]:
    with database.reading() as tx:
        return list(tx.execute(text("SELECT word FROM said")).scalars())


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("after", "left"), [(False, ["zero", "one"]), (True, ["zero", "one", "two"])])
def test_the_next_life_finds_what_was_committed(kind: Kind, after: bool, left: list[str], tmp_path: Path) -> None:
    store, database = opened(kind, tmp_path)
    store.fate.seal(1, after=after)
    say(database, "one")
    assert said(database) == ["zero", "one"], "to read is no commit"
    with pytest.raises(Died):
        say(database, "two")
    database.close()
    store.fate.is_dead = False
    assert said(store.open(tmp_path / "state.sqlite3")) == left
    store.close()


@pytest.mark.parametrize("kind", Kind)
def test_a_dead_process_neither_reads_nor_writes(kind: Kind, tmp_path: Path) -> None:
    store, database = opened(kind, tmp_path)
    store.fate.die()
    with pytest.raises(Died):
        say(database, "from the grave")
    with pytest.raises(Died):
        said(database)
    store.close()


@pytest.mark.parametrize("kind", Kind)
def test_a_process_that_dies_inside_a_transaction_commits_nothing_of_it(kind: Kind, tmp_path: Path) -> None:
    store, database = opened(kind, tmp_path)

    def say_and_die() -> None:
        with database.transaction() as tx:
            tx.execute(text("INSERT INTO said VALUES ('half')"))
            store.fate.die()

    with pytest.raises(Died):
        say_and_die()
    database.close()
    store.fate.is_dead = False
    assert said(store.open(tmp_path / "state.sqlite3")) == ["zero"]
    store.close()
