"""The files of versions: there before the row that names them, and not believed if they have changed."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update
from structlog.testing import capture_logs

from fanlight.errors import NotFound, StorageError
from fanlight.services.main_server import version_files
from fanlight.services.main_server.version_files import MODELS_FOLDER, VersionFiles, read_version
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate
from fanlight.storage.tables.main import models
from tests.services_world import running

PARTS = (b"one", memoryview(b"two"), b"three")
CONTENT = b"onetwothree"
SHA256 = hashlib.sha256(CONTENT).digest()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.sqlite3") as made:
        migrate(made, "main")
        yield made


@pytest.fixture
def files(tmp_path: Path) -> VersionFiles:
    return VersionFiles(tmp_path / MODELS_FOLDER)


def name(database: Database, *, published: bool = True, sha256: bytes = SHA256, version: int = 0) -> None:
    with database.transaction() as tx:
        values = {"sha256": sha256, "created_at": 0.0, "published": published, "size": len(CONTENT)}
        tx.execute(insert(models).values(version=version, **values))


def test_a_file_is_named_by_its_hash_and_is_its_owners_alone(files: VersionFiles, tmp_path: Path) -> None:
    assert files.add(PARTS) == (SHA256, len(CONTENT))
    (path,) = (tmp_path / MODELS_FOLDER).iterdir()
    assert path.name == f"{SHA256.hex()}.safetensors"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert files.read(SHA256) == read_version(path.parent, SHA256) == CONTENT
    assert files.add(PARTS) == (SHA256, len(CONTENT))  # as after a crash before the row


def test_only_published_versions_are_handed_out_and_one_is_kept(
    files: VersionFiles, database: Database, tmp_path: Path
) -> None:
    files.add(PARTS)
    name(database, published=False)
    with database.reading() as tx, pytest.raises(NotFound):
        files.published(tx, SHA256)
    with database.transaction() as tx:
        tx.execute(update(models).values(published=True))
    with database.reading() as tx:
        assert files.published(tx, SHA256) == CONTENT
        next((tmp_path / MODELS_FOLDER).iterdir()).unlink()
        assert files.published(tx, SHA256) == CONTENT


def test_what_was_written_here_is_read_before_anybody_asks(
    files: VersionFiles, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_read = threading.Event()

    def reading(folder: Path, sha256: bytes, *, believed: bool = False) -> bytes:
        content = read_version(folder, sha256, believed=believed)
        was_read.set()
        return content

    monkeypatch.setattr(version_files, "read_version", reading)
    files.add(PARTS)
    assert was_read.wait(60)
    name(database)
    next((tmp_path / MODELS_FOLDER).iterdir()).unlink()
    with database.reading() as tx:
        assert files.published(tx, SHA256) == CONTENT


def test_what_was_written_last_is_not_kept_beside_the_one_that_is_asked_for(
    files: VersionFiles, database: Database, tmp_path: Path
) -> None:
    files.add(PARTS)
    last, _ = files.add([CONTENT[::-1]])
    name(database)
    name(database, sha256=last, version=1)
    with database.reading() as tx:
        assert files.published(tx, SHA256) == CONTENT
        (tmp_path / MODELS_FOLDER / f"{last.hex()}.safetensors").write_bytes(CONTENT)
        with pytest.raises(StorageError, match="damaged"):
            files.published(tx, last)


@pytest.mark.parametrize("harm", ["gone", "empty", "changed"])
def test_a_file_that_is_not_as_it_was_written_is_not_used(
    files: VersionFiles, database: Database, tmp_path: Path, harm: str
) -> None:
    files.add(PARTS)
    name(database)
    (path,) = (tmp_path / MODELS_FOLDER).iterdir()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if harm == "empty" else CONTENT[:-1] + b"x")
    later = VersionFiles(tmp_path / MODELS_FOLDER)  # in another life: what was written in this one is believed
    with database.reading() as tx:
        with pytest.raises(StorageError, match=str(path)) as caught:
            later.read(SHA256)
        assert caught.value.slug == "damaged-model"
        with pytest.raises(StorageError, match=str(path)):
            later.published(tx, SHA256)


def test_what_was_written_here_is_hashed_too_once_it_was_read(
    files: VersionFiles, database: Database, tmp_path: Path
) -> None:
    files.add(PARTS)
    name(database)
    with database.reading() as tx:
        files.published(tx, SHA256)
    next((tmp_path / MODELS_FOLDER).iterdir()).write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(StorageError, match="damaged"):
        files.read(SHA256)


def test_whoever_only_reads_makes_no_folder(files: VersionFiles, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        files.read(SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_read_says_so(files: VersionFiles, tmp_path: Path) -> None:
    (tmp_path / MODELS_FOLDER).write_bytes(b"this is no folder")
    with pytest.raises(StorageError, match=MODELS_FOLDER):
        files.read(SHA256)


def test_a_server_starts_with_version_0_in_its_folder_and_deletes_nothing(tmp_path: Path) -> None:
    """An older database put back beside newer files, by mistake, is taken away again, and they are still there."""
    with running(tmp_path) as world:
        service = world.main.service
        with service.database.reading() as tx:
            sha256 = service.models.current(tx).sha256
            content = service.models.file_of(tx, 0)
        assert hashlib.sha256(content).digest() == sha256
        (folder,) = tmp_path.rglob(f"main/{MODELS_FOLDER}")
        assert [path.name for path in folder.iterdir()] == [f"{sha256.hex()}.safetensors"]
        (folder / f"{SHA256.hex()}.safetensors").write_bytes(CONTENT)
        world.restart_main()
        assert read_version(folder, SHA256) == CONTENT


def test_a_server_whose_current_version_is_damaged_starts_and_says_so(tmp_path: Path) -> None:
    """Or nobody could go back to another version."""
    with running(tmp_path) as world:
        (path,) = tmp_path.rglob(f"main/{MODELS_FOLDER}/*.safetensors")
        path.write_bytes(b"spoilt")
        with capture_logs() as said:
            world.restart_main()
        assert [line["slug"] for line in said if line["event"] == "a version cannot be read"] == ["damaged-model"]
        with world.main.service.database.reading() as tx:
            assert world.main.service.models.current(tx).number == 0
