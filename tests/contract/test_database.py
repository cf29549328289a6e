"""What every ``Database`` keeps to, in memory and in a file."""

import importlib
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from fanlight.errors import Refused, StorageError
from fanlight.storage import migrating
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import Database
from fanlight.storage.migrating import Role, migrate
from fanlight.storage.tables import device, main

metadata = MetaData()
counters = Table(
    "counters", metadata, Column("id", Integer, primary_key=True), Column("value", Integer, nullable=False)
)


@pytest.fixture(params=["memory", "file"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with Database(None if request.param == "memory" else tmp_path / "state" / "role.sqlite") as made:
        with made.transaction() as tx:
            metadata.create_all(tx)
            tx.execute(insert(counters).values(id=1, value=0))
        yield made


def value(database: Database) -> int:
    with database.transaction() as tx:
        return int(tx.execute(select(counters.c.value).where(counters.c.id == 1)).scalar_one())


def test_a_transaction_is_kept(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(update(counters).values(value=5))
    assert value(database) == 5


def test_who_reads_sees_what_was_committed_and_waits_for_nobody(tmp_path: Path) -> None:
    seen: list[int] = []

    def look() -> None:
        with made.reading() as tx:
            seen.append(tx.execute(select(counters.c.value)).scalar_one())

    with Database(tmp_path / "role.sqlite") as made:
        with made.transaction() as tx:
            metadata.create_all(tx)
            tx.execute(insert(counters).values(id=1, value=0))
        with made.transaction() as tx:
            tx.execute(update(counters).values(value=5))
            other = threading.Thread(target=look)
            other.start()
            other.join()
        look()
    assert seen == [0, 5]


def test_however_many_read_at_once_nobody_waits_for_a_connection(tmp_path: Path) -> None:
    """An event loop reads, too, and would stand still meanwhile."""
    with Database(tmp_path / "role.sqlite") as made, ExitStack() as readers:
        connections = [readers.enter_context(made.reading()) for _ in range(50)]
        assert [tx.execute(text("SELECT 1")).scalar_one() for tx in connections] == [1] * 50


def test_who_only_reads_changes_nothing(tmp_path: Path) -> None:
    with Database(tmp_path / "role.sqlite") as made:
        with made.transaction() as tx:
            metadata.create_all(tx)
            tx.execute(insert(counters).values(id=1, value=0))
        with made.reading() as tx:
            tx.execute(update(counters).values(value=5))
        assert value(made) == 0


def test_an_error_undoes_all_of_a_transaction(database: Database) -> None:
    def change_and_fail() -> None:
        with database.transaction() as tx:
            tx.execute(update(counters).values(value=5))
            raise Refused("no")

    with pytest.raises(Refused):
        change_and_fail()
    assert value(database) == 0


def test_even_a_table_made_in_a_failed_transaction_is_undone(database: Database) -> None:
    def make_and_fail() -> None:
        with database.transaction() as tx:
            tx.execute(text("CREATE TABLE half (id INTEGER)"))
            raise Refused("no")

    with pytest.raises(Refused):
        make_and_fail()
    with database.transaction() as tx:
        assert tx.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'half'")).scalar_one() == 0


def test_threads_take_turns_and_lose_no_change(database: Database) -> None:
    def add() -> None:
        for _ in range(25):
            with database.transaction() as tx:
                old = tx.execute(select(counters.c.value)).scalar_one()
                tx.execute(update(counters).values(value=old + 1))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(database) == 200


def test_a_transaction_inside_a_transaction_is_refused_instead_of_waiting_for_ever(database: Database) -> None:
    with pytest.raises(RuntimeError, match="inside a transaction"), database.transaction(), database.transaction():
        pass
    assert value(database) == 0


def test_a_contradicting_row_is_a_storage_error_with_nothing_changed(database: Database) -> None:
    def contradict() -> None:
        with database.transaction() as tx:
            tx.execute(insert(counters).values(id=2, value=1))
            tx.execute(insert(counters).values(id=2, value=2))

    with pytest.raises(StorageError) as caught:
        contradict()
    assert caught.value.slug == "storage-conflict"
    with database.transaction() as tx:
        assert tx.execute(select(func.count()).select_from(counters)).scalar_one() == 1


def test_broken_sql_is_a_storage_error(database: Database) -> None:
    with pytest.raises(StorageError) as caught, database.transaction() as tx:
        tx.execute(text("SELECT * FROM nowhere"))
    assert "nowhere" in caught.value.message


def test_a_full_disk_says_so_and_changes_nothing(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(text("CREATE TABLE blobs (content BLOB)"))
        pages = tx.execute(text("PRAGMA page_count")).scalar_one()
        tx.execute(text(f"PRAGMA max_page_count = {pages + 5}"))  # SQLite's own "database or disk is full"
    with pytest.raises(StorageError) as caught, database.transaction() as tx:
        tx.execute(text("INSERT INTO blobs VALUES (zeroblob(1000000))"))
    assert caught.value.slug == "disk-full"
    assert "No room left" in caught.value.message
    with database.transaction() as tx:
        assert tx.execute(text("SELECT count(*) FROM blobs")).scalar_one() == 0


def test_foreign_keys_are_enforced(database: Database) -> None:
    with database.transaction() as tx:
        assert tx.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


def test_a_file_survives_closing_and_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "role.sqlite"
    with Database(path) as first:
        migrate(first, "device")
        with first.transaction() as tx:
            tx.execute(text("INSERT INTO settings VALUES ('a', x'01')"))
        files = list(path.parent.iterdir())
        assert {path.name, f"{path.name}-wal"} <= {file.name for file in files}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with Database(path) as again:
        migrate(again, "device")
        with again.transaction() as tx:
            assert tx.execute(text("SELECT value FROM settings")).scalar_one() == b"\x01"
            assert tx.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
            assert tx.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL


def test_what_follows_one_that_need_not_be_durable_is_durable_again_whatever_became_of_it(tmp_path: Path) -> None:
    def level(durable: bool) -> int:
        with opened.transaction(durable=durable) as tx:
            return int(tx.execute(text("PRAGMA synchronous")).scalar_one())

    with Database(tmp_path / "role.sqlite") as opened:
        assert (level(durable=False), level(durable=True)) == (1, 2)  # NORMAL, FULL
        with pytest.raises(KeyError), opened.transaction(durable=False):
            raise KeyError
        assert level(durable=True) == 2


def test_a_transaction_keeps_other_processes_out_from_its_first_read_on(tmp_path: Path) -> None:
    path = tmp_path / "role.sqlite"
    with Database(path) as ours, Database(path, busy_timeout_ms=1) as theirs:
        migrate(ours, "device")
        with ours.transaction() as tx:
            tx.execute(text("SELECT * FROM settings"))
            with pytest.raises(StorageError) as caught, theirs.transaction():
                pass
        assert caught.value.slug == "storage-busy"
        with theirs.transaction():
            pass


def test_an_impossible_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        Database(tmp_path / "file" / "role.sqlite")


def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "role.sqlite"
    path.write_bytes(b"this is a letter, not a database" * 100)
    with Database(path) as database, pytest.raises(StorageError, match="not a database"):
        migrate(database, "main")


@pytest.mark.parametrize("role", ["main", "aggregator", "device"])
def test_migrations_arrive_exactly_at_the_tables_in_the_code(role: Role, tmp_path: Path) -> None:
    tables = importlib.import_module(f"fanlight.storage.tables.{role}").metadata
    with Database(tmp_path / "100% of: it" / "role.sqlite") as database:
        migrate(database, role)
        migrate(database, role)
        with database.transaction() as tx:
            context = MigrationContext.configure(tx, opts={"compare_server_default": True})
            assert compare_metadata(context, tables) == []


def test_files_of_models_move_into_a_folder(tmp_path: Path) -> None:
    with Database(tmp_path / "role.sqlite") as made:
        with made.transaction() as tx:
            config = migrating._config("main")
            config.attributes |= {"connection": tx, "folder": tmp_path}
            command.upgrade(config, "0006")
            old = "INSERT INTO models (version, sha256, created_at, published, content) VALUES (:v, :h, 0, 1, :c)"
            tx.execute(
                text(old), [{"v": number, "h": bytes([number]) * 32, "c": b"x" * number} for number in (0, 1, 2)]
            )
        migrate(made, "main")
        with made.transaction() as tx:
            models = main.models.c
            rows = tx.execute(select(models.version, models.published, models.size).order_by(models.version))
            assert [tuple(row) for row in rows] == [(number, True, number) for number in (0, 1, 2)]
    files = {path.name: path.read_bytes() for path in (tmp_path / "models").iterdir()}
    assert files == {f"{bytes([number]).hex() * 32}.safetensors": b"x" * number for number in (0, 1, 2)}


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_moving_them_can_be_cut_short_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """After some of the files, or after all of them and before the commit: the next start makes it whole."""
    contents = {number: bytes([number]) * 10_000 for number in (1, 2, 3)}
    with Database(tmp_path / "role.sqlite") as made:
        with made.transaction() as tx:
            config = migrating._config("main")
            config.attributes |= {"connection": tx, "folder": tmp_path}
            command.upgrade(config, "0014")
            rows = [{"h": bytes([number]) * 32, "c": content} for number, content in contents.items()]
            tx.execute(text("INSERT INTO model_files (sha256, content) VALUES (:h, :c)"), rows)
        write, left = BlobFolder.write_stream, iter(range(written))

        def cut_short(*arguments: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            write(*arguments)

        def power_cut(*_arguments: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patching:
            patching.setattr(BlobFolder, "write_stream", cut_short)
            patching.setattr(Operations, "drop_table", power_cut)
            with pytest.raises(KeyboardInterrupt):
                migrate(made, "main")
        assert len(list((tmp_path / "models").glob("*.safetensors"))) == written
        migrate(made, "main")
        with made.transaction() as tx:
            assert not inspect(tx).has_table("model_files")
    files = {path.name: path.read_bytes() for path in (tmp_path / "models").iterdir()}
    assert files == {f"{bytes([number]).hex() * 32}.safetensors": content for number, content in contents.items()}


def test_rounds_outlive_that_their_table_is_made_anew(tmp_path: Path) -> None:
    row = {"number": 3, "kind": "train", "mh": bytes(32), "state": "complete", "model": b"m", "asked": "none"}
    row |= {"participants": 2, "reason": "", "opened_at": 1.0, "ended_at": 2.5, "judged_at": None, "released_at": 2.0}
    with Database(tmp_path / "role.sqlite") as made:
        with made.transaction() as tx:
            config = migrating._config("main")
            config.attributes |= {"connection": tx, "folder": tmp_path}
            command.upgrade(config, "0015")
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            tx.execute(text(f"INSERT INTO rounds ({names}, record) VALUES ({values}, x'0102')"), row)  # noqa: S608 names of ours
        migrate(made, "main")
        with made.transaction() as tx:
            assert tx.execute(select(main.rounds)).one()._asdict() == row | {"lasted_s": None, "record": b"\1\2"}
            with pytest.raises(IntegrityError):  # a manifest is one round's, as before
                tx.execute(insert(main.rounds).values(row | {"number": 4, "record": b""}))


def test_what_a_device_remembers_outlives_the_column_that_goes(tmp_path: Path) -> None:
    row = {"number": 3, "head": bytes(32), "mh": bytes([1]) * 32, "counted": True, "algorithm": "scaffold"}
    with Database(tmp_path / "role.sqlite") as made:
        with made.transaction() as tx:
            config = migrating._config("device")
            config.attributes["connection"] = tx
            command.upgrade(config, "0007")
            old = "INSERT INTO memories VALUES (:number, :head, 7, :mh, :counted, :algorithm, x'0102')"
            tx.execute(text(old), row)
        migrate(made, "device")
        with made.transaction() as tx:
            assert tx.execute(select(device.memories)).one()._asdict() == row | {"content": b"\1\2"}
            with pytest.raises(IntegrityError):  # a round's row is one, as before
                tx.execute(insert(device.memories).values(row | {"number": 4, "content": b""}))


def test_a_database_from_a_newer_version_is_refused_untouched(database: Database) -> None:
    migrate(database, "main")
    with database.transaction() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError) as caught:
        migrate(database, "main")
    assert caught.value.slug == "database-too-new"
    assert "9999" in caught.value.message
    with database.transaction() as tx:
        assert tx.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
