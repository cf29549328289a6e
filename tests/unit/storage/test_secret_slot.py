"""A secret in its place: written over, never beside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import StorageError
from fanlight.storage.secret_slot import Numbered, SecretSlot

SECRET, OTHER = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slot"


def test_a_new_one_is_empty_and_for_its_owner_only(path: Path) -> None:
    assert SecretSlot(path).read() is None
    assert path.stat().st_mode & 0o777 == 0o600


@given(number=st.integers(0, 2**64 - 1), secret=st.binary(min_size=32, max_size=32))
def test_what_is_written_is_there_also_for_the_next_process(
    tmp_path_factory: pytest.TempPathFactory, number: int, secret: bytes
) -> None:
    path = tmp_path_factory.mktemp("slot") / "slot"
    SecretSlot(path).write(number, secret)
    assert SecretSlot(path).read() == Numbered(number, secret)


def test_the_next_one_leaves_nothing_of_the_last(path: Path) -> None:
    slot = SecretSlot(path)
    slot.write(1, SECRET)
    before = path.stat()
    slot.write(2, OTHER)
    assert slot.read() == Numbered(2, OTHER)
    assert SECRET not in path.read_bytes()
    slot.destroy()
    assert slot.read() is None
    assert set(path.read_bytes()) == {0}
    after = path.stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size), "or it would be elsewhere still"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("at", range(64))
def test_a_damaged_one_is_none(path: Path, at: int) -> None:
    slot = SecretSlot(path)
    slot.write(7, SECRET)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    assert slot.read() is None


def test_of_a_process_that_died_while_it_made_it(path: Path) -> None:
    path.touch(mode=0o600)
    assert SecretSlot(path).read() is None
    path.write_bytes(bytes(10))
    slot = SecretSlot(path)
    slot.write(1, SECRET)
    assert slot.read() == Numbered(1, SECRET)


def test_what_others_could_read_or_is_no_such_file_is_refused(path: Path, tmp_path: Path) -> None:
    SecretSlot(path).write(1, SECRET)
    path.chmod(0o640)
    with pytest.raises(StorageError) as error:
        SecretSlot(path)
    assert error.value.slug == "secret-not-private"
    (tmp_path / "long").write_bytes(bytes(65))
    (tmp_path / "long").chmod(0o600)
    with pytest.raises(StorageError, match="no file of Fanlight's"):
        SecretSlot(tmp_path / "long")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(StorageError):
        SecretSlot(tmp_path / "link")
    path.unlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError):
        SecretSlot(tmp_path / "folder")
