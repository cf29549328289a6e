"""What a simulated device keeps: whatever the moment at which its process ends, it answers nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.errors import StorageError
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import Delivery, End, Record
from fanlight.services.fleet.diary import MOST_REMEMBERED, Diary, Sent

NOW = 1_000_000


def record(number: int, kind: str = "train") -> Record:
    return Record(
        delivery=Delivery.COMMITTED.value,
        number=number,
        kind=kind,
        mh=bytes([number]) * 32,
        plan=bytes(32),
        model=bytes([number]) * 32,
        attempt=0,
        envelope=b"sealed",
        length=7,
        committed_at=NOW + number,
        chunks=b"of y",
    )


def end(of: Record, result: Result = Result.RELEASED, *, included: bool = True) -> End:
    return End(of, result, "ok", included)


def answered(diary: Diary, of: Record) -> bool:
    return of.answer_key in diary.history(of.answer_key, NOW).answered


def test_what_was_built_is_pending_and_answered_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "device" / "diary.jsonl"
    diary = Diary(path)
    assert not diary.enrolled
    diary.enrol()
    diary.commit(Sent(record(1)))
    for each in (diary, Diary(path)):
        assert each.enrolled
        assert each.pending[record(1).mh].record.envelope == b"sealed"
        assert answered(each, record(1))
        assert not answered(each, record(2))
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("result", "again"), [(Result.RELEASED, False), (Result.FAILED, False), (Result.ABANDONED, True)]
)
def test_only_what_was_abandoned_may_be_answered_again(result: Result, again: bool, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary.jsonl")
    diary.commit(Sent(record(1)))
    diary.end(end(record(1), result, included=False))
    for each in (diary, Diary(tmp_path / "diary.jsonl")):
        assert not each.pending
        assert answered(each, record(1)) is not again


def test_answers_of_a_day_are_counted(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary.jsonl")
    for number in (1, 2, 3):
        diary.commit(Sent(record(number)))
        diary.end(end(record(number), Result.ABANDONED))
    key = record(9).answer_key
    assert diary.history(key, NOW + 3).last_day == 3
    assert diary.history(key, NOW + 86_400 + 2).last_day == 2
    assert diary.history(key, NOW + 86_400 + 9).last_day == 0


def test_it_remembers_what_was_summed_in_rounds_on_the_way(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary.jsonl")
    for number, included in ((1, True), (2, False), (3, True)):
        diary.commit(Sent(record(number), remembers=True))
        assert number in diary.memories
        diary.end(end(record(number), included=included))
    for each in (diary, Diary(tmp_path / "diary.jsonl")):
        spans = (((1, 1),), ((1, 2),), ((1, 3),), ((2, 2),), ((1, 1), (4, 4)))
        assert [each.remembered(Lineage("feddyn", span)) for span in spans] == [1, 1, 3, None, 1]
        assert each.remembered(None) is None
        assert each.memories == {1, 3}
    for number in range(4, 9):
        diary.commit(Sent(record(number), remembers=True))
        diary.end(end(record(number)))
    assert len(diary.memories) == MOST_REMEMBERED


def test_it_is_counted_in_sums_once_they_were_released_with_it(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary.jsonl")
    diary.commit(Sent(record(1, "statistics"), collection=1))
    assert diary.waits_for_sums
    diary.end(end(record(1, "statistics"), included=False))
    assert (diary.waits_for_sums, diary.collection) == (False, None)
    diary.commit(Sent(record(2, "statistics"), collection=2))
    diary.end(end(record(2, "statistics")))
    assert Diary(tmp_path / "diary.jsonl").collection == 2


def test_a_line_that_was_not_finished_is_none(tmp_path: Path) -> None:
    path = tmp_path / "diary.jsonl"
    diary = Diary(path)
    diary.enrol()
    whole = path.read_bytes()
    diary.commit(Sent(record(1)))
    path.write_bytes(path.read_bytes()[:-5])
    after = Diary(path)
    assert after.enrolled
    assert not after.pending
    assert path.read_bytes() == whole
    after.commit(Sent(record(2)))
    assert answered(Diary(path), record(2))


@pytest.mark.parametrize("line", [b"{}\n", b"no JSON\n", b'{"mh": "00"}\n', b"\xff\n"])
def test_a_damaged_one_is_refused(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "diary.jsonl").write_bytes(line)
    with pytest.raises(StorageError) as refused:
        Diary(tmp_path / "diary.jsonl")
    assert refused.value.slug == "damaged-file"
