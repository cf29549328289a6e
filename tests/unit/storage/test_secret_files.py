import stat
from pathlib import Path

import pytest

from fanlight.errors import NotFound, StorageError
from fanlight.storage.secret_files import destroy, read_secret, write_secret


def test_a_secret_is_its_owners_only(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"secret")
    assert read_secret(tmp_path / "key") == b"secret"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_secret_that_others_can_open_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_secret(path, b"secret")
    path.chmod(mode)
    with pytest.raises(StorageError) as caught:
        read_secret(path)
    assert caught.value.slug == "secret-not-private"
    assert f"chmod 600 '{path}'" in caught.value.next


def test_a_secret_is_not_overwritten_by_mistake(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"old")
    with pytest.raises(StorageError, match="exists already"):
        write_secret(tmp_path / "key", b"new")
    assert read_secret(tmp_path / "key") == b"old"
    write_secret(tmp_path / "key", b"new", replace=True)
    assert read_secret(tmp_path / "key") == b"new"


def test_what_a_process_left_that_died_while_it_wrote_is_destroyed(tmp_path: Path) -> None:
    (tmp_path / ".key.1.partial").write_bytes(b"half a sec")
    (tmp_path / ".key2.1.partial").write_bytes(b"another's")
    write_secret(tmp_path / "key", b"secret")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".key2.1.partial", "key"]


def test_a_missing_secret_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="key"):
        read_secret(tmp_path / "key")


def test_an_endless_file_is_not_read(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", bytes(101))
    with pytest.raises(StorageError, match="longer"):
        read_secret(tmp_path / "key", limit=100)


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_secret(tmp_path)


def test_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        write_secret(tmp_path / "nowhere" / "key", b"x")


def test_destroying_overwrites_and_unlinks(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_secret(path, b"secret")
    with path.open("rb") as still_open:
        assert destroy(path)
        assert still_open.read() == bytes(6)
    assert not path.exists()
    assert not destroy(path)


def test_destroying_does_not_follow_a_link_to_another_file(tmp_path: Path) -> None:
    write_secret(tmp_path / "other", b"other")
    (tmp_path / "key").symlink_to(tmp_path / "other")
    with pytest.raises(StorageError):
        destroy(tmp_path / "key")
    assert read_secret(tmp_path / "other") == b"other"
