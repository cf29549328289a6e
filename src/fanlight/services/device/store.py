"""What of a device survives a power cut: its preparation, models, answered manifests, reports, history and refusals.

A method that returns has made durable what it was given.  A report's y lies in an owner-only file that is written, and
synced, before the row that names it; a row therefore never names half a file, and a file that no row names is swept
away at the next start.  y is deleted when its round is over.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from fanlight.core import ring
from fanlight.errors import FanlightError, NotFound, NotPossibleNow, StorageError
from fanlight.learning.model_file import MAX_MODEL_BYTES
from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import (
    PREPARATION,
    SECONDS_PER_DAY,
    Delivery,
    End,
    History,
    Preparation,
    PreparationEvent,
    Record,
)
from fanlight.protocol.message import Blob, Message, Name
from fanlight.services.device.evidence import Evidence
from fanlight.services.device.learned import Course, Held, Learned, Prepared, StoredCounts
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate
from fanlight.storage.tables.device import answered, refusals, reports, rounds, settings
from fanlight.storage.unfinished import Unfinished

DATABASE_FILE: Final = "state.sqlite3"
MODEL_FOLDER: Final = "models"
REPORT_FOLDER: Final = "reports"
_PREPARED, _HELD, _KEY_CHANGE, _DEPARTURE, _COURSE = "prepared", "held", "key-change", "departure", "course"


class KeyChange(Message):
    """A change of key under way: the signed ``Rekey``, and the servers that have taken it."""

    message: Blob
    taken_by: Annotated[tuple[Name, ...], Field(max_length=2)] = ()


class Departure(Message):
    """This device has left, for good: the servers that know it."""

    told: Annotated[tuple[Name, ...], Field(max_length=2)] = ()


@dataclass(frozen=True)
class RoundLine:
    """One round of the history; ``result``, ``reason`` and ``included`` are None until it is over."""

    mh: bytes
    number: int
    kind: str
    learned: Learned
    result: str | None
    reason: str | None
    included: bool | None


@dataclass(frozen=True)
class Refusal:
    """A manifest that this device did not answer, and why."""

    mh: bytes
    slug: str
    message: str
    next: str
    refused_at: int


class DeviceStore:
    """A device's state folder.

    Args:
        folder: the folder, made if missing.

    Attributes:
        evidence: of servers that contradict themselves.

    Raises:
        StorageError: it cannot be used, or is from a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(folder / DATABASE_FILE)
        migrate(self.database, "device")
        self.evidence = Evidence(self.database)
        # In memory too: they are read many times a round, and no other process writes this folder (``FolderLock``).
        self._values: Mapping[str, bytes] = {}
        self._values_lock = threading.Lock()
        with self._changing_values():
            pass
        self._models = BlobFolder(folder / MODEL_FOLDER)
        self._reports = BlobFolder(folder / REPORT_FOLDER)
        wanted = {_y_name(record.mh) for record in self.unfinished()}
        for name in set(self._reports.names()) - wanted:
            self._reports.delete(name)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    # -- single values

    def value(self, key: str) -> bytes | None:
        """A value kept under ``key``."""
        return self._values.get(key)

    def keep(self, key: str, value: bytes | None) -> None:
        """Keep a value under ``key``; None forgets it."""
        with self._changing_values() as tx:
            _keep(tx, key, value)

    @contextmanager
    def _changing_values(self) -> Iterator[Connection]:
        """A transaction that may change values; what is in memory follows once it is durable."""
        with self._values_lock:
            with self.database.transaction() as tx:
                yield tx
                values = {row.key: row.value for row in tx.execute(select(settings))}
            self._values = values

    @property
    def key_change(self) -> KeyChange | None:
        """The change of key that is under way."""
        data = self.value(_KEY_CHANGE)
        return KeyChange.decode(data) if data else None

    def change_key(self, change: KeyChange | None) -> None:
        """Keep how far the change of key is; None: it is over."""
        self.keep(_KEY_CHANGE, change.encode() if change else None)

    @property
    def departure(self) -> Departure:
        """How far the leaving is; empty while no server knows of it."""
        data = self.value(_DEPARTURE)
        return Departure.decode(data) if data else Departure()

    def depart(self, departure: Departure) -> None:
        """Keep how far the leaving is; reports can be sent no more, and are deleted."""
        self.keep(_DEPARTURE, departure.encode())
        for record in self.unfinished():
            self._reports.delete(_y_name(record.mh))

    # -- models

    @property
    def held(self) -> Held | None:
        """The current global model."""
        data = self.value(_HELD)
        return Held.decode(data) if data else None

    def hold(self, held: Held, file: bytes | None = None) -> None:
        """Make a verified model the current one (with its ``file`` if it is new); older ones are deleted.

        A preparation for another plan or model is void from now on.
        """
        if file is not None:
            self._write_model("global", held.sha256, file)
            self._models.give_up_all()
        with self._changing_values() as tx:
            _keep(tx, _HELD, held.encode())
            prepared = _prepared(tx)
            if prepared and not _made_for(prepared, held):
                _move(tx, prepared, PreparationEvent.NEW_MODEL)
        self._delete_models("global", held.sha256)

    def unfinished_model(self, sha256: bytes) -> Unfinished:
        """What has arrived of a global model, to be continued; there is only one such file, and ``hold`` ends it."""
        name = _model_name("global", sha256)
        self._models.give_up_all(keep=name)
        return self._models.unfinished(name, 0, MAX_MODEL_BYTES)

    def measured(self, held: Held, measured: StoredCounts) -> None:
        """Keep what the global model ``held`` was measured to be; a newer one may have come meanwhile."""
        with self._changing_values() as tx:
            if _held(tx) == held:
                _keep(tx, _HELD, held.with_(measured=measured).encode())

    @property
    def prepared(self) -> Prepared | None:
        """How far the preparation of the next report is."""
        data = self.value(_PREPARED)
        return Prepared.decode(data) if data else None

    def trained(self, prepared: Prepared, file: bytes) -> Prepared:
        """Step 1 is done: keep what it brought, and the local model's ``file``.

        Returns:
            the preparation as it is kept; it is void if another model came while this one was trained on.
        """
        self._write_model("local", prepared.head, file)
        with self._changing_values() as tx:
            before, held = _prepared(tx), _held(tx)
            kept = _move(tx, prepared.with_(state=_state(before).value), PreparationEvent.TRAIN)
            if held is None or not _made_for(kept, held):
                kept = _move(tx, kept, PreparationEvent.NEW_MODEL)
        self._delete_models("local", prepared.head)
        return kept

    @property
    def course(self) -> Course | None:
        """How the last training went."""
        data = self.value(_COURSE)
        return Course.decode(data) if data else None

    def keep_course(self, course: Course) -> None:
        """Keep how the last training went."""
        self.keep(_COURSE, course.encode())

    def announced(self, prepared: Prepared) -> None:
        """Step 2 is done for this preparation, unless it is another one by now."""
        with self._changing_values() as tx:
            if _prepared(tx) == prepared:
                _move(tx, prepared, PreparationEvent.ANNOUNCE)

    def global_file(self, sha256: bytes) -> bytes:
        """The current global model's file.

        Raises:
            NotFound: it is not here. StorageError: damaged.
        """
        return self._read_model("global", sha256)

    def local_file(self, sha256: bytes) -> bytes:
        """The local model's file; errors as in ``global_file``."""
        return self._read_model("local", sha256)

    # -- reports

    def commit(self, record: Record, y: NDArray[np.uint32], learned: Learned, prepared: Prepared | None = None) -> None:
        """Keep a report before its first byte is sent, and that its manifest has been answered.

        Args:
            record, y, learned: the report.
            prepared: what it was made of, in a training round; it is used up.

        Raises:
            NotPossibleNow: the preparation is another one by now.
        """
        name, data = _y_name(record.mh), ring.to_bytes(y)
        self._reports.write_stream(name, [data], len(data), len(data))
        line = {"mh": record.mh, "number": record.number, "kind": record.kind, "learned": learned.encode()}
        values = {"mh": record.mh, "delivery": record.delivery, "committed_at": record.committed_at}
        with self._changing_values() as tx:
            tx.execute(insert(answered).values(answer_key=record.answer_key, mh=record.mh))
            tx.execute(insert(reports).values(record=record.encode(), **values))
            tx.execute(insert(rounds).values(**line))
            if prepared is not None:
                if _prepared(tx) != prepared:
                    raise NotPossibleNow(
                        "There was a training, or a new model, while the report was built.",
                        slug="prepared-anew",
                        next="Send the model again.",
                    )
                _move(tx, prepared.with_(sent_in=record.mh), PreparationEvent.SEND)

    def report(self, mh: bytes) -> Record | None:
        """The report for a manifest, if there is one."""
        with self.database.transaction() as tx:
            data = tx.execute(select(reports.c.record).where(reports.c.mh == mh)).scalar()
        return Record.decode(data) if data else None

    def reports(self, newest: int | None = None) -> list[Record]:
        """All reports, or the ``newest`` so many, the oldest first."""
        order = reports.c.committed_at.desc(), reports.c.mh.desc()
        with self.database.transaction() as tx:
            rows = tx.execute(select(reports.c.record).order_by(*order).limit(newest)).all()
        return [Record.decode(row.record) for row in reversed(rows)]

    def count_reports(self) -> int:
        """How many reports there are."""
        with self.database.transaction() as tx:
            return tx.execute(select(func.count()).select_from(reports)).scalar_one()

    def unfinished(self) -> list[Record]:
        """The reports whose rounds are not over."""
        with self.database.transaction() as tx:
            rows = tx.execute(select(reports.c.record).where(reports.c.delivery != Delivery.ENDED.value))
            return [Record.decode(row.record) for row in rows]

    def progress(self, record: Record) -> None:
        """A report was acknowledged or confirmed."""
        with self.database.transaction() as tx:
            _replace(tx, record)

    def finish(self, end: End) -> None:
        """A report's round is over: y is no longer needed; an abandoned round may be answered again."""
        record = end.record
        line = {"result": end.result.value, "reason": end.reason, "included": end.was_included}
        with self._changing_values() as tx:
            _replace(tx, record)
            tx.execute(update(rounds).where(rounds.c.mh == record.mh).values(**line))
            if end.result == Result.ABANDONED:
                tx.execute(delete(answered).where(answered.c.mh == record.mh))
            prepared = _prepared(tx)
            if prepared and prepared.at == Preparation.SENT and prepared.sent_in == record.mh:
                abandoned = end.result == Result.ABANDONED
                _move(tx, prepared, PreparationEvent.ABANDONED if abandoned else PreparationEvent.ENDED)
        self._reports.delete(_y_name(record.mh))

    def open_y(self, mh: bytes) -> BinaryIO:
        """The stored y of a report; the caller closes it."""
        return self._reports.open(_y_name(mh))

    def history(self, now: int) -> History:
        """What was answered before ``now`` (unix seconds)."""
        with self.database.transaction() as tx:
            keys = {row.answer_key: row.mh for row in tx.execute(select(answered))}
            recent = select(func.count()).select_from(reports).where(reports.c.committed_at > now - SECONDS_PER_DAY)
            return History(keys, tx.execute(recent).scalar_one())

    def rounds(self, newest: int | None = None) -> list[RoundLine]:
        """The history, or the ``newest`` rounds of it, the first round first."""
        with self.database.transaction() as tx:
            rows = tx.execute(select(rounds).order_by(rounds.c.number.desc()).limit(newest)).all()
        return [
            RoundLine(row.mh, row.number, row.kind, Learned.decode(row.learned), row.result, row.reason, row.included)
            for row in reversed(rows)
        ]

    def count_rounds(self) -> int:
        """How many rounds the history has."""
        with self.database.transaction() as tx:
            return tx.execute(select(func.count()).select_from(rounds)).scalar_one()

    # -- refusals

    def refuse(self, mh: bytes, error: FanlightError, now: int) -> None:
        """Keep why a manifest was not answered; the same reason is kept once."""
        values: Mapping[str, object] = {"message": error.message, "next": error.next, "refused_at": now}
        with self.database.transaction() as tx:
            row = upsert(refusals).values(mh=mh, slug=error.slug, **values)
            tx.execute(row.on_conflict_do_nothing())

    def refusals_by_reason(self) -> dict[str, int]:
        """How many manifests were not answered, by slug of the reason."""
        with self.database.transaction() as tx:
            rows = tx.execute(select(refusals.c.slug, func.count()).group_by(refusals.c.slug))
            return {str(row[0]): int(row[1]) for row in rows}

    def refusals(self) -> list[Refusal]:
        """All refusals, the latest first, at most 100."""
        with self.database.transaction() as tx:
            rows = tx.execute(select(refusals).order_by(refusals.c.refused_at.desc()).limit(100)).all()
        return [Refusal(row.mh, row.slug, row.message, row.next, row.refused_at) for row in rows]

    def _write_model(self, whose: str, sha256: bytes, file: bytes) -> None:
        self._models.write_stream(_model_name(whose, sha256), [file], len(file), MAX_MODEL_BYTES)

    def _read_model(self, whose: str, sha256: bytes) -> bytes:
        data = self._models.read(_model_name(whose, sha256))
        if hashlib.sha256(data).digest() != sha256:
            raise StorageError(f"The {whose} model's file in {self._models.root} is damaged.", slug="damaged-model")
        return data

    def _delete_models(self, whose: str, but: bytes) -> None:
        for name in self._models.names():
            if name.startswith(f"{whose}-") and name != _model_name(whose, but):
                self._models.delete(name)


def current_model_file(state: Path) -> Path:
    """Where a device with the state folder ``state`` keeps its current global model (for ``fanlight predict``).

    Raises:
        NotFound: the device has none yet.
    """
    files = sorted((state / MODEL_FOLDER).glob("global-*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    if not files:
        raise NotFound(f"{state} holds no model yet.", next="Start the device and let it reach the main server.")
    return files[-1]


def _model_name(whose: str, sha256: bytes) -> str:
    return f"{whose}-{sha256.hex()}.safetensors"


def _y_name(mh: bytes) -> str:
    return f"{mh.hex()}.y"


def _keep(tx: Connection, key: str, value: bytes | None) -> None:
    if value is None:
        tx.execute(delete(settings).where(settings.c.key == key))
        return
    row = upsert(settings).values(key=key, value=value)
    tx.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def _replace(tx: Connection, record: Record) -> None:
    values = {"delivery": record.delivery, "record": record.encode()}
    tx.execute(update(reports).where(reports.c.mh == record.mh).values(**values))


def _prepared(tx: Connection) -> Prepared | None:
    data = tx.execute(select(settings.c.value).where(settings.c.key == _PREPARED)).scalar()
    return Prepared.decode(data) if data else None


def _held(tx: Connection) -> Held | None:
    data = tx.execute(select(settings.c.value).where(settings.c.key == _HELD)).scalar()
    return Held.decode(data) if data else None


def _made_for(prepared: Prepared, held: Held) -> bool:
    return (prepared.plan, prepared.model) == (held.plan.hash, held.sha256)


def _state(prepared: Prepared | None) -> Preparation:
    return prepared.at if prepared else Preparation.IDLE


def _move(tx: Connection, prepared: Prepared, event: PreparationEvent) -> Prepared:
    moved = prepared.with_(state=PREPARATION.next(prepared.at, event).value)
    _keep(tx, _PREPARED, moved.encode())
    return moved
