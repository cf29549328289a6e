"""What a folder of large files keeps to."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.errors import MalformedMessage, MessageTooLarge, NotFound, StorageError
from fanlight.storage.blobs import BlobFolder

PIECES = [b"a" * 1000, b"", b"b" * 500]
CONTENT = b"".join(PIECES)


@pytest.fixture
def folder(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs")


def test_what_is_written_is_read(folder: BlobFolder) -> None:
    folder.write_stream("00ff.report", iter(PIECES), 1500, 10_000)
    assert folder.read("00ff.report") == CONTENT
    assert folder.size("00ff.report") == 1500
    with folder.open("00ff.report") as stream:
        assert stream.read(2) == b"aa"
    assert folder.names() == ["00ff.report"]


def test_files_and_folder_are_their_owners_only(folder: BlobFolder) -> None:
    folder.write_stream("x", PIECES, None, 10_000)
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.root / "x").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0", "A", "a.b.c", "ä", "a\n", "-a", "a" * 200]
)
def test_names_that_could_lead_elsewhere_are_refused(folder: BlobFolder, name: str) -> None:
    for attempt in (
        lambda: folder.write_stream(name, PIECES, None, 10_000),
        lambda: folder.read(name),
        lambda: folder.delete(name),
        lambda: folder.exists(name),
    ):
        with pytest.raises(StorageError, match="no name"):
            attempt()
    assert list(folder.root.iterdir()) == []


def test_a_missing_file_is_not_found_and_its_deletion_no_error(folder: BlobFolder) -> None:
    assert not folder.exists("x")
    folder.delete("x")
    with pytest.raises(NotFound, match="'x'"):
        folder.read("x")


def test_deleting(folder: BlobFolder) -> None:
    folder.write_stream("x", PIECES, None, 10_000)
    folder.delete("x")
    assert not folder.exists("x")


@pytest.mark.parametrize(
    ("expected", "limit", "error"),
    [
        (None, 1499, MessageTooLarge),
        (1499, 10_000, MessageTooLarge),
        (1501, 10_000, MalformedMessage),
        (1500, 1, MessageTooLarge),
    ],
)
def test_a_wrong_length_leaves_the_old_file_and_no_trace(
    folder: BlobFolder, expected: int | None, limit: int, error: type[Exception]
) -> None:
    folder.write_stream("x", [b"old"], None, 10)
    with pytest.raises(error):
        folder.write_stream("x", PIECES, expected, limit)
    assert folder.read("x") == b"old"
    assert [path.name for path in folder.root.iterdir()] == ["x"]


def test_a_writer_that_fails_half_way_leaves_nothing(folder: BlobFolder) -> None:
    def fail_half_way() -> None:
        with folder.writer("x", None, 10_000) as writer:
            writer.write(b"half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail_half_way()
    assert list(folder.root.iterdir()) == []


def test_two_writers_of_one_name_do_not_mix(folder: BlobFolder) -> None:
    with folder.writer("x", None, 100) as first, folder.writer("x", None, 100) as second:
        first.write(b"1" * 10)
        second.write(b"2" * 10)
        first.commit()
        second.commit()
    assert folder.read("x") == b"2" * 10


def test_a_name_that_is_known_last_is_asked_for_when_all_is_on_the_disk(folder: BlobFolder) -> None:
    def name() -> str:
        (partial,) = folder.root.iterdir()
        assert partial.read_bytes() == b"content"
        return "after-all"

    with folder.writer("x", None, 100) as writer:
        writer.write(b"content")
        writer.commit(name)
    assert folder.names() == ["after-all"]
    with folder.writer("x", None, 100) as writer, pytest.raises(StorageError, match="no name"):
        writer.commit(lambda: "../x")
    assert [path.name for path in folder.root.iterdir()] == ["after-all"]


def test_partial_files_of_an_earlier_process_are_swept_away(folder: BlobFolder) -> None:
    folder.write_stream("x", PIECES, None, 10_000)
    (folder.root / ".y.1-0.partial").write_bytes(b"half")
    BlobFolder(folder.root)
    assert [path.name for path in folder.root.iterdir()] == ["x"]


def test_no_room_is_known_before_the_first_byte_and_says_how_much_is_missing(folder: BlobFolder) -> None:
    disk = os.statvfs(folder.root)
    free = disk.f_bavail * disk.f_frsize
    with pytest.raises(StorageError) as caught:
        folder.write_stream("x", [], free + (1 << 40), 1 << 62)
    assert caught.value.slug == "disk-full"
    assert str(folder.root) in caught.value.message
    assert "bytes more are needed" in caught.value.message


def test_a_disk_that_fills_up_while_writing_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from collections.abc import Iterator
from pathlib import Path
from fanlight.errors import StorageError
from fanlight.storage.blobs import BlobFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = BlobFolder(Path(sys.argv[1]))
try:
    folder.write_stream("x", [bytes(65536)] * 4, None, 1 << 20)
except StorageError as error:
    print(error.slug, [path.name for path in folder.root.iterdir()])
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "blobs")], capture_output=True, text=True, check=True, timeout=240
    )
    assert answer.stdout.strip() == "disk-full []"


def test_an_unfinished_file_is_kept_over_a_restart_and_seen_when_it_is_committed(folder: BlobFolder) -> None:
    with folder.unfinished("x", 1500, 1500) as begun:
        begun.write(0, PIECES[0])
    assert not folder.exists("x")
    assert folder.names() == []
    again = BlobFolder(folder.root)
    with again.unfinished("x", 1500, 1500) as begun:
        assert begun.size == 1000
        assert list(begun.pieces(600)) == [b"a" * 600, b"a" * 400]
        begun.write(1000, PIECES[2])
        begun.commit()
    assert again.read("x") == CONTENT
    assert [path.name for path in folder.root.iterdir()] == ["x"]
    assert stat.S_IMODE((folder.root / "x").stat().st_mode) == 0o600


def test_an_unfinished_file_that_is_given_up_cannot_be_committed(folder: BlobFolder) -> None:
    with folder.unfinished("x", 10, 10) as begun, folder.unfinished("y", 10, 10):
        folder.give_up("x")
        folder.give_up("z")
        with pytest.raises(NotFound, match="given up"):
            begun.commit()
    assert [path.name for path in folder.root.iterdir()] == [".y.unfinished"]
    with folder.unfinished("z", 10, 10):
        folder.give_up_all(keep="y")
    assert [path.name for path in folder.root.iterdir()] == [".y.unfinished"]
    folder.give_up_all()
    assert list(folder.root.iterdir()) == []


def test_two_who_finish_the_same_file_both_succeed_though_a_third_begins_it_anew(folder: BlobFolder) -> None:
    with folder.unfinished("x", 4, 4) as first, folder.unfinished("x", 4, 4) as second:
        for begun in (first, second):
            begun.write(0, b"same")
        first.commit()
        with folder.unfinished("x", 4, 4) as third:
            assert third.size == 0
            second.commit()
            assert folder.read("x") == b"same", "what is empty takes nothing's place"
            third.write(0, b"same")
            third.commit()
    assert folder.read("x") == b"same"
    assert [path.name for path in folder.root.iterdir()] == ["x"]


def test_an_unfinished_file_begun_anew(folder: BlobFolder) -> None:
    with folder.unfinished("x", 4, 4) as begun:
        begun.write(0, b"wrong")
        begun.clear()
        assert begun.size == 0


def test_an_unfinished_file_without_room_or_above_the_limit(folder: BlobFolder) -> None:
    with pytest.raises(MessageTooLarge):
        folder.unfinished("x", 11, 10)
    with pytest.raises(StorageError) as error:
        folder.unfinished("x", 1 << 60, 1 << 60)
    assert error.value.slug == "disk-full"
    with pytest.raises(StorageError, match="no name"):
        folder.unfinished("../x", 1, 1)
    assert list(folder.root.iterdir()) == []


def test_what_is_appended_lies_behind_what_is_there(folder: BlobFolder) -> None:
    assert folder.append("x", PIECES, 1500) == 0
    assert folder.append("x", [b"c"], 1) == 1500
    assert folder.read("x") == CONTENT + b"c"
    assert stat.S_IMODE((folder.root / "x").stat().st_mode) == 0o600


def test_a_failure_while_appending_spoils_nothing_of_what_is_there(folder: BlobFolder) -> None:
    def breaking_off() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "full")

    folder.append("x", [b"first"], 5)
    with pytest.raises(StorageError) as caught:
        folder.append("x", breaking_off(), 8)
    assert caught.value.slug == "disk-full"
    start = folder.append("x", [b"second"], 6)
    content = folder.read("x")
    assert (content[:5], content[start:]) == (b"first", b"second")
