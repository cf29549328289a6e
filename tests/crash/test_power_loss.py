"""The stand-in for a power cut: what it keeps, what it throws away, and that it catches who does not sync."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from fanlight.learning.atomic_file import write_atomically
from fanlight.services.device.learned import Held
from fanlight.services.device.store import Departure, DeviceStore
from fanlight.storage import database as database_module
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import Database
from fanlight.storage.folders import make_private_folder
from fanlight.storage.secret_files import destroy, read_secret, write_secret
from fanlight.storage.secret_slot import Numbered, SecretSlot
from tests.crash.disk import SyncedDisk, cut_power
from tests.crash.launcher import WatchedFiles, watch_commits
from tests.crash.points import Events, Points
from tests.crash.role import PROCESSES

SECRET = bytes(range(32))
LARGE = bytes(range(256)) * 8_192


def blob(root: Path) -> None:
    folder = BlobFolder(root / "blobs")
    folder.write_stream("kept", [LARGE], None, len(LARGE))
    folder.write_stream("changed", [b"first"], None, 10)
    folder.write_stream("changed", [b"second"], None, 10)
    folder.write_stream("gone", [b"x"], None, 10)
    folder.delete("gone")
    folder.append("grown", [b"first"], 5)
    folder.append("grown", [b"second"], 6)


def added(root: Path) -> None:
    """To a file that was there at the start, once as it should be, and once carelessly."""
    with BlobFolder(root).open("old") as old:
        assert old.read() == LARGE
    BlobFolder(root).append("old", [b"more"], 4)
    with (root / "old").open("ab") as stream:
        stream.write(b"careless")


def secret(root: Path) -> None:
    write_secret(root / "key", b"first")
    write_secret(root / "key", b"second", replace=True)
    write_secret(root / "used", b"up")
    destroy(root / "used")


def key_in_its_place(root: Path) -> None:
    for name in ("slot", "used-slot"):
        SecretSlot(root / name).write(1, bytes(32))
        SecretSlot(root / name).write(2, SECRET)
    SecretSlot(root / "used-slot").destroy()


def held(content: bytes) -> Held:
    return Held(sha256=hashlib.sha256(content).digest(), version=1, plan_bytes=b"plan")


def models_that_came_along(root: Path) -> None:
    """The second one is not safe yet."""
    store = DeviceStore(root)
    store.hold(held(b"first"), b"first")
    store.depart(Departure())  # anything that is durable
    store.hold(held(b"second"), b"second")
    os._exit(0)


def model_in_the_place_of_a_file(root: Path) -> None:
    store = DeviceStore(root)
    with store.unfinished_model(held(b"first").sha256) as begun:
        begun.write(0, b"first")
        store.hold(held(b"first"), begun)
    store.hold(held(b"second"), b"second")
    os._exit(0)


def rows(root: Path) -> None:
    with Database(root / "state.sqlite3") as database:
        with database.transaction() as tx:
            tx.execute(text("CREATE TABLE numbers (n INTEGER)"))
            tx.execute(text("INSERT INTO numbers VALUES (1)"))
        with database.transaction() as tx:
            tx.execute(text("INSERT INTO numbers VALUES (2)"))
        os._exit(0)  # closing would tidy up


def rows_that_may_be_lost(root: Path) -> None:
    """Three changes, of which only the second says that it is durable."""
    with Database(root / "state.sqlite3") as database:
        with database.transaction() as tx:
            tx.execute(text("CREATE TABLE numbers (n INTEGER)"))
        for number, durable in ((1, False), (2, True), (3, False)):
            with database.transaction(durable=durable) as tx:
                tx.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})
        os._exit(0)


def careless_file(root: Path) -> None:
    write_atomically(root / "careless", b"content", durable=False)


def file_that_can_be_made_again(root: Path) -> None:
    BlobFolder(root).write_stream("careless", [b"content"], None, 7, durably=False)


def careless_name(root: Path) -> None:
    handle = os.open(root / ".new", os.O_WRONLY | os.O_CREAT)
    os.write(handle, b"content")
    os.fsync(handle)
    os.close(handle)
    (root / ".new").replace(root / "careless")


def careless_rows(root: Path) -> None:
    careless = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
    database_module._PRAGMAS = careless
    rows(root)


def work(what: Callable[[Path], None], root: Path, beside: Path) -> None:
    """In a process of its own: watched, do the work, and end without any tidying up."""
    disk, points = SyncedDisk(root, beside / "disk"), Points(Events(beside / "events.jsonl"))
    watch_commits(points, disk)
    WatchedFiles(points, disk).install()
    what(root)
    os._exit(0)


def after_power_cut(what: Callable[[Path], None], tmp_path: Path, *, names_lost: bool, old: bytes = LARGE) -> Path:
    root = tmp_path / "state"
    make_private_folder(root)
    (root / "old").write_bytes(LARGE)
    (root / "small").write_bytes(b"old")
    process = PROCESSES.Process(target=work, args=(what, root, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == 0
    process.close()
    cut_power(root, tmp_path / "disk", names_lost=names_lost)
    assert (root / "old").read_bytes() == old
    assert (root / "small").read_bytes() == b"old"
    return root


BOTH = pytest.mark.parametrize("names_lost", [True, False], ids=["names lost", "contents lost"])


@BOTH
def test_what_the_product_has_written_is_there(names_lost: bool, tmp_path: Path) -> None:
    root = after_power_cut(blob, tmp_path, names_lost=names_lost)
    folder = BlobFolder(root / "blobs")
    assert folder.names() == ["changed", "grown", "kept"]
    assert [folder.read(name) for name in folder.names()] == [b"second", b"firstsecond", LARGE]


@BOTH
def test_what_was_added_to_a_file_of_an_earlier_process_is_there_if_it_was_synced(
    names_lost: bool, tmp_path: Path
) -> None:
    after_power_cut(added, tmp_path, names_lost=names_lost, old=LARGE + b"more")


@BOTH
def test_a_secret_is_there_and_a_destroyed_one_is_not(names_lost: bool, tmp_path: Path) -> None:
    root = after_power_cut(secret, tmp_path, names_lost=names_lost)
    assert read_secret(root / "key") == b"second"
    assert not (root / "used").exists()


@BOTH
def test_a_key_is_in_its_place_and_a_destroyed_one_is_nowhere(names_lost: bool, tmp_path: Path) -> None:
    root = after_power_cut(key_in_its_place, tmp_path, names_lost=names_lost)
    assert SecretSlot(root / "slot").read() == Numbered(2, SECRET)
    assert set((root / "used-slot").read_bytes()) == {0}


@BOTH
@pytest.mark.parametrize(
    ("hold", "left"), [(models_that_came_along, b"first"), (model_in_the_place_of_a_file, b"second")]
)
def test_a_device_has_a_whole_model(
    hold: Callable[[Path], None], left: bytes, names_lost: bool, tmp_path: Path
) -> None:
    store = DeviceStore(after_power_cut(hold, tmp_path, names_lost=names_lost))
    assert store.held == held(left)
    assert store.global_file(held(left).sha256) == left
    store.close()


@BOTH
def test_what_is_committed_is_there(names_lost: bool, tmp_path: Path) -> None:
    assert numbers(after_power_cut(rows, tmp_path, names_lost=names_lost)) == [1, 2]


@BOTH
def test_what_need_not_be_durable_is_there_once_something_later_is(names_lost: bool, tmp_path: Path) -> None:
    assert numbers(after_power_cut(rows_that_may_be_lost, tmp_path, names_lost=names_lost)) == [1, 2]


@pytest.mark.parametrize("write", [careless_file, file_that_can_be_made_again])
def test_a_file_that_was_not_synced_is_lost_or_empty(write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert not (after_power_cut(write, tmp_path / "a", names_lost=True) / "careless").exists()
    assert (after_power_cut(write, tmp_path / "b", names_lost=False) / "careless").read_bytes() == b""


def test_a_name_that_was_not_synced_is_lost(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert not (after_power_cut(careless_name, tmp_path / "a", names_lost=True) / "careless").exists()
    assert (after_power_cut(careless_name, tmp_path / "b", names_lost=False) / "careless").read_bytes() == b"content"


def test_commits_that_did_not_wait_for_the_disk_are_lost(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        numbers(after_power_cut(careless_rows, tmp_path, names_lost=False))


def test_every_connection_waits_for_the_disk(tmp_path: Path) -> None:
    with Database(tmp_path / "state.sqlite3") as database, database.transaction() as tx:
        assert tx.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert tx.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL


def numbers(root: Path) -> list[int]:
    connection = sqlite3.connect(root / "state.sqlite3")
    try:
        return [row[0] for row in connection.execute("SELECT n FROM numbers ORDER BY n")]
    finally:
        connection.close()
