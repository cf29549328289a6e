from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.errors import StorageError
from fanlight.services.aggregator.shared_file import SharedFile
from fanlight.storage.blobs import BlobFolder

MH, OTHER = b"m" * 32, b"o" * 32


@pytest.fixture
def files(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "reports")


def test_groups_of_a_round_share_a_file_and_another_round_has_its_own(files: BlobFolder) -> None:
    shared = SharedFile(files)
    first = shared.add(MH, {b"1": b"aaaa", b"2": b"bb"})
    shared.keep()
    second = shared.add(MH, {b"3": b"c"})
    shared.keep()
    (other,) = shared.add(OTHER, {b"4": b"d"})
    assert [place.start for place in [*first, *second, other]] == [0, 4, 6, 0]
    assert {place.file for place in [*first, *second]} == {first[0].file} != {other.file}
    assert files.read(first[0].file) == b"aaaabbc"


def test_a_file_of_which_nothing_was_taken_is_deleted(files: BlobFolder) -> None:
    shared = SharedFile(files)
    shared.add(MH, {b"1": b"a"})
    shared.give_up()
    assert files.names() == []


def test_a_group_that_is_not_taken_leaves_those_before_and_nothing_follows_it(files: BlobFolder) -> None:
    shared = SharedFile(files)
    (taken,) = shared.add(MH, {b"1": b"a"})
    shared.keep()
    shared.give_up()  # of a group that failed before it got here
    (again,) = shared.add(MH, {b"2": b"b"})
    shared.keep()
    shared.add(MH, {b"3": b"c"})
    shared.give_up()
    (last,) = shared.add(MH, {b"4": b"d"})
    assert len({taken.file, again.file, last.file}) == 3
    assert [files.read(name)[:1] for name in (taken.file, again.file, last.file)] == [b"a", b"b", b"d"]


def test_the_next_process_begins_another_file(files: BlobFolder) -> None:
    (before,) = SharedFile(files).add(MH, {b"1": b"a"})
    (after,) = SharedFile(files).add(MH, {b"2": b"b"})
    assert before.file != after.file


def test_a_round_that_is_over_meanwhile_spoils_nothing(files: BlobFolder) -> None:
    shared = SharedFile(files)
    (place,) = shared.add(MH, {b"1": b"a"})
    shared.keep()
    files.delete(place.file)
    (again,) = shared.add(MH, {b"2": b"b"})
    assert (again.start, files.read(again.file)) == (0, b"b")


def test_a_failure_is_said(files: BlobFolder) -> None:
    files.root.rmdir()
    with pytest.raises(StorageError):
        SharedFile(files).add(MH, {b"1": b"a"})
