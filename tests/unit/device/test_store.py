from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, text

from fanlight.errors import NotFound, NotPossibleNow, Refused, StorageError
from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import SECONDS_PER_DAY, Delivery, End, Preparation, PreparationEvent, Record
from fanlight.services.device import small_files
from fanlight.services.device.learned import Held, Learned, Prepared, StoredCounts
from fanlight.services.device.model_files import current_model_file
from fanlight.services.device.preparing import Use
from fanlight.services.device.store import REPORT_FOLDER, DeviceStore
from fanlight.storage.tables import device as tables
from tests.unit.device.federation import PLAN

LEARNED = Learned(received=StoredCounts.none(2))

pytestmark = pytest.mark.usefixtures("where")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DeviceStore]:
    opened = DeviceStore(tmp_path / "state")
    yield opened
    opened.close()


def record(number: int, at: int = 1000) -> Record:
    return Record(
        delivery=Delivery.COMMITTED.value,
        number=number,
        kind="train",
        mh=bytes([number]) * 32,
        plan=bytes(32),
        model=bytes([number]) * 32,
        attempt=0,
        envelope=b"envelope",
        length=3,
        committed_at=at,
    )


def held(content: bytes) -> Held:
    return Held(sha256=hashlib.sha256(content).digest(), version=1, plan_bytes=PLAN.encode())


def test_a_committed_report_is_there_after_a_restart(store: DeviceStore, tmp_path: Path) -> None:
    y = np.array([1, 2, 2**32 - 1], np.uint32)
    store.commit(record(1), y, LEARNED)
    again = DeviceStore(tmp_path / "state")
    assert again.report(bytes([1]) * 32) == record(1)
    with again.open_y(bytes([1]) * 32) as file:
        assert file.read() == y.astype("<u4").tobytes()
    assert [(line.number, line.result) for line in again.past.rounds()] == [(1, None)]
    again.close()


def test_a_file_that_no_report_names_is_swept_away(store: DeviceStore, tmp_path: Path) -> None:
    store.commit(record(1), np.zeros(3, np.uint32), LEARNED)
    orphan = tmp_path / "state" / "reports" / f"{'ab' * 32}.y"
    orphan.write_bytes(b"from a crash")
    DeviceStore(tmp_path / "state").close()
    assert not orphan.exists()
    with store.open_y(bytes([1]) * 32) as file:
        assert len(file.read()) == 12


def test_what_an_earlier_version_has_as_files_is_read_and_goes_when_its_time_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, end = np.arange(3, dtype=np.uint32), record(1).with_(delivery=Delivery.ENDED.value)
    with monkeypatch.context() as patch:
        patch.setattr(small_files, "MOST_BYTES", 0)
        before = DeviceStore(tmp_path / "before")
        take(before, b"first")
        before.trained(prepared(b"first"), b"local")
        before.commit(record(1), y, LEARNED)
        before.close()
    after = DeviceStore(tmp_path / "before")
    files = [path for folder in ("models", REPORT_FOLDER) for path in (after.folder / folder).iterdir()]
    assert len(files) == 3
    assert after.local_file(prepared(b"first").head) == b"local"
    with after.open_y(bytes([1]) * 32) as file:
        assert file.read() == y.tobytes()
    after.finish(End(end, Result.RELEASED, "ok", True), 2000)
    after.trained(prepared(b"first").with_(head=hashlib.sha256(b"other").digest()), b"other")
    assert [path.name[:6] for path in files if path.exists()] == ["global"]
    with pytest.raises(NotFound):
        after.open_y(bytes([1]) * 32)
    after.close()


def test_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    """y and the last local model, which nobody has masked, whatever SQLite was built to do."""
    y, store = np.frombuffer(b"this-is-y" * 1000, np.uint32), DeviceStore(tmp_path / "closed")
    take(store, b"first")
    for content in (b"this-is-local" * 1000, b"another"):
        store.trained(prepared(b"first").with_(head=hashlib.sha256(content).digest()), content)
    store.commit(record(1), y, LEARNED)
    store.finish(End(record(1).with_(delivery=Delivery.ENDED.value), Result.RELEASED, "ok", True), 2000)
    with store.database.reading() as tx:
        assert tx.execute(text("PRAGMA secure_delete")).scalar() == 1
    store.close()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "closed").rglob("*") if path.is_file())
    assert b"another" in kept, "or this test would see nothing"
    assert b"this-is" not in kept


def test_of_what_is_trained_only_the_last_is_kept(store: DeviceStore) -> None:
    take(store, b"first")
    for content in (b"one", b"other"):
        ready = prepared(b"first").with_(head=hashlib.sha256(content).digest())
        store.trained(ready, content)
        assert store.local_file(ready.head) == content
    with pytest.raises(NotFound):
        store.local_file(hashlib.sha256(b"one").digest())


def test_one_answer_for_a_key_and_nothing_changes_when_refused(store: DeviceStore) -> None:
    store.commit(record(1), np.zeros(3, np.uint32), LEARNED)
    second = record(2).with_(model=bytes([1]) * 32)
    with pytest.raises(StorageError):
        store.commit(second, np.zeros(3, np.uint32), LEARNED)
    assert [kept.number for kept in store.past.reports()] == [1]


def test_answers_are_counted_over_a_day(store: DeviceStore) -> None:
    for number, at in ((1, 1000), (2, 1000 + SECONDS_PER_DAY - 1)):
        store.commit(record(number, at), np.zeros(3, np.uint32), LEARNED)
    key, other = record(1).answer_key, record(3).answer_key
    assert store.history(key, 1000 + SECONDS_PER_DAY - 1).last_day == 2
    assert store.history(key, 1000 + SECONDS_PER_DAY).last_day == 1
    assert store.history(key, 0).answered == {key: record(1).mh}
    assert store.history(other, 0).answered == {}


def test_a_refusal_is_kept_once_for_each_reason(store: DeviceStore) -> None:
    for at in (5, 6):
        store.refusals.keep(bytes(32), Refused("no", slug="below-floor", next="wait"), at)
    store.refusals.keep(bytes(32), Refused("no", slug="demo-refused"), 7)
    assert [(line.slug, line.refused_at) for line in store.refusals.newest()] == [
        ("demo-refused", 7),
        ("below-floor", 5),
    ]


def take(store: DeviceStore, content: bytes) -> None:
    """A model has been fetched."""
    with store.unfinished_model(held(content).sha256) as begun:
        begun.write(0, content)
        store.hold(held(content), begun)


def test_a_newer_model_replaces_the_older(store: DeviceStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        current_model_file(tmp_path / "state")
    for content in (b"first", b"second"):
        take(store, content)
    assert current_model_file(tmp_path / "state").read_bytes() == b"second"
    assert store.held == held(b"second")
    with pytest.raises(NotFound):
        store.global_file(held(b"first").sha256)


def in_database(store: DeviceStore) -> list[str]:
    with store.database.reading() as tx:
        return [row.name for row in tx.execute(select(tables.small_files)) if row.name.startswith("global-")]


def test_a_model_that_came_along_lies_in_the_database(store: DeviceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_files, "MOST_BYTES", 10)
    for content in (b"first", b"second"):
        store.hold(held(content), content)
        assert store.held == held(content)
        assert store.global_file(held(content).sha256) == content
        assert in_database(store) == [f"global-{held(content).sha256.hex()}.safetensors"]
    store.hold(held(b"second").with_(version=2))  # the same file under another plan or number
    assert store.global_file(held(b"second").sha256) == b"second"
    with pytest.raises(NotFound):
        store.global_file(held(b"first").sha256)
    assert list((store.folder / "models").iterdir()) == []


def test_one_way_a_model_comes_takes_the_place_of_the_other(
    store: DeviceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "MOST_BYTES", 10)
    take(store, b"fetched")
    with store.unfinished_model(held(b"half").sha256) as begun:
        begun.write(0, b"ha")
    store.hold(held(b"along"), b"along")
    assert list((store.folder / "models").iterdir()) == []
    assert store.global_file(held(b"along").sha256) == b"along"
    take(store, b"fetched again")
    assert in_database(store) == []
    assert store.global_file(held(b"fetched again").sha256) == b"fetched again"


def test_what_came_along_and_is_too_large_for_the_database_is_a_file(
    store: DeviceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "MOST_BYTES", 3)
    store.hold(held(b"large"), b"large")
    assert in_database(store) == []
    assert store.global_file(held(b"large").sha256) == b"large"


def test_a_damaged_model_is_not_used(store: DeviceStore, tmp_path: Path) -> None:
    take(store, b"model")
    current_model_file(tmp_path / "state").write_bytes(b"modem")
    with pytest.raises(StorageError) as caught:
        store.global_file(held(b"model").sha256)
    assert caught.value.slug == "damaged-model"


def prepared(model: bytes) -> Prepared:
    return Prepared(
        state=Preparation.IDLE.value,
        plan=PLAN.hash,
        model=hashlib.sha256(model).digest(),
        model_version=1,
        head=hashlib.sha256(b"local").digest(),
        examples=3,
        epochs=1,
        supporters=(True, True),
        received=StoredCounts.none(2),
        local=StoredCounts.none(2),
        trained_at=1000,
    )


def test_another_model_makes_a_preparation_void_for_ever(store: DeviceStore) -> None:
    take(store, b"first")
    kept = store.trained(prepared(b"first"), b"local")
    store.announced(kept)
    assert store.prepared == kept.with_(state="announced")
    store.measured(held(b"first"), StoredCounts.none(2))
    assert store.prepared == kept.with_(state="announced")
    for content in (b"second", b"first"):
        take(store, content)
        assert store.prepared == kept.with_(state="idle")


def test_a_training_on_a_model_that_was_replaced_meanwhile_is_void(store: DeviceStore) -> None:
    take(store, b"second")
    assert store.trained(prepared(b"first"), b"local").at == Preparation.IDLE
    assert store.prepared == prepared(b"first")


def test_a_preparation_is_used_up_by_its_report(store: DeviceStore, where: str) -> None:
    take(store, b"first")
    store.announced(store.trained(prepared(b"first"), b"local"))
    ready = store.prepared
    assert ready is not None
    store.commit(record(1), np.zeros(3, np.uint32), LEARNED, Use(ready, PreparationEvent.SEND))
    assert store.prepared == ready.with_(state="sent", sent_in=bytes([1]) * 32)
    with pytest.raises(NotPossibleNow) as caught:
        store.commit(record(2), np.zeros(3, np.uint32), LEARNED, Use(ready, PreparationEvent.SEND))
    assert caught.value.slug == "prepared-anew"
    assert [kept.number for kept in store.past.reports()] == [1]
    name, vectors = f"{(bytes([1]) * 32).hex()}.y", [path.name for path in (store.folder / REPORT_FOLDER).iterdir()]
    assert vectors == ([name] if where == "files" else []), "nothing is left of the report that was not committed"
    with store.database.reading() as tx:
        rows = set(tx.execute(select(tables.small_files.c.name)).scalars())
    assert rows == ({name, f"local-{ready.head.hex()}.safetensors"} if where == "rows" else set())
    store.announced(ready)
    assert store.prepared == ready.with_(state="sent", sent_in=bytes([1]) * 32)


def test_figures_that_many_records_have_are_kept_as_they_are_in_each() -> None:
    figures = StoredCounts(confusion=tuple(range(100)), loss_micro=1)
    for counts in (figures, figures.with_(loss_micro=2), figures.with_(confusion=(7,) * 100)):
        kept = prepared(b"first").with_(received=counts, local=figures)
        assert Prepared.decode(kept.encode()) == kept


def test_a_measurement_of_a_model_that_was_replaced_is_dropped(store: DeviceStore) -> None:
    take(store, b"second")
    store.measured(held(b"first"), StoredCounts.none(2))
    assert store.held == held(b"second")
