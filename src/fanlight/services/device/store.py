"""What of a device survives a power cut: its membership, preparation, answered manifests, reports and history.

A method that returns has made durable what it was given, unless it says otherwise. A report's y lies in the database,
or, if it is large, in an owner-only file that is written, and synced, before the row that names it; a row therefore
never names half a file, and a file that no row names is swept away at the next start. y is deleted when its round is
over.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from fanlight.core import ring
from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import (
    SECONDS_PER_DAY,
    Delivery,
    End,
    History,
    Preparation,
    PreparationEvent,
    Record,
)
from fanlight.protocol.message import Blob, Message, Name
from fanlight.services.device import counted, memories, small_files
from fanlight.services.device.counted import Account, InQuestion
from fanlight.services.device.evidence import Evidence
from fanlight.services.device.learned import Course, Held, Learned, Prepared, StoredCounts
from fanlight.services.device.memories import Left
from fanlight.services.device.model_files import Made, ModelFiles
from fanlight.services.device.past import Past
from fanlight.services.device.preparing import PREPARED, Use, is_for, move, prepared_now, state_of, use_up
from fanlight.services.device.refusals import Refusals
from fanlight.services.device.values import Values, put, stored
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import DATABASE_FILE, Database
from fanlight.storage.migrating import migrate
from fanlight.storage.statements import Statement
from fanlight.storage.tables.device import answered, reports, rounds
from fanlight.storage.unfinished import Unfinished

REPORT_FOLDER: Final = "reports"
_RECORD: Final = Statement(select(reports.c.record).where(reports.c.mh == bindparam("wanted")))
_REPORT: Final = Statement(insert(reports))
_REPLACE: Final = Statement(update(reports).where(reports.c.mh == bindparam("wanted")), "delivery", "record")
_SINCE: Final = Statement(select(func.count()).select_from(reports).where(reports.c.committed_at > bindparam("start")))
_ANSWERED: Final = Statement(select(answered).where(answered.c.answer_key == bindparam("wanted")))
_ANSWER: Final = Statement(insert(answered))
_ROUND: Final = Statement(insert(rounds), "mh", "number", "kind", "learned", "asked_again")
_END: Final = Statement(update(rounds).where(rounds.c.mh == bindparam("wanted")), "result", "reason", "included")
_HELD, _KEY_CHANGE, _DEPARTURE, _COURSE = "held", "key-change", "departure", "course"


class KeyChange(Message):
    """A change of key under way: the signed ``Rekey``, and the servers that have taken it."""

    message: Blob
    taken_by: Annotated[tuple[Name, ...], Field(max_length=2)] = ()


class Departure(Message):
    """This device has left, for good: the servers that know it."""

    told: Annotated[tuple[Name, ...], Field(max_length=2)] = ()


class DeviceStore:
    """A device's state folder.

    Args:
        folder: the folder, made if missing.

    Attributes:
        evidence: of servers that contradict themselves.
        refusals: manifests that were not answered.
        past: all rounds and reports.
        values: what is kept under a key.
        memories: what algorithms remember.
        account: what main counts of this device.

    Raises:
        StorageError: it cannot be used, or is from a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(folder / DATABASE_FILE)
        migrate(self.database, "device")
        self.evidence = Evidence(self.database)
        self.refusals = Refusals(self.database)
        self.past = Past(self.database)
        self.values = Values(self.database)
        self.memories = memories.Memories(self.database)
        self.account = Account(self.values)
        self._models = ModelFiles(folder, self.database)
        self._reports = BlobFolder(folder / REPORT_FOLDER)
        # In memory too, as the values are.
        self._unfinished = {record.mh: record for record in self._read_unfinished()}
        wanted = {_y_name(mh) for mh in self._unfinished}
        for name in set(self._reports.names()) - wanted:
            self._reports.delete(name)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    # -- membership

    @property
    def key_change(self) -> KeyChange | None:
        """The change of key that is under way."""
        return self.values.read(KeyChange, _KEY_CHANGE)

    def change_key(self, change: KeyChange | None) -> None:
        """Keep how far the change of key is; None: it is over."""
        self.values.keep(_KEY_CHANGE, change)

    @property
    def departure(self) -> Departure:
        """How far the leaving is; empty while no server knows of it."""
        return self.values.read(Departure, _DEPARTURE) or Departure()

    def depart(self, departure: Departure) -> None:
        """Keep how far the leaving is; reports can be sent no more, and are deleted."""
        names = [_y_name(record.mh) for record in self.unfinished()]
        with self.values.changing() as tx:
            put(tx, _DEPARTURE, departure)
            for name in names:
                small_files.forget(tx, name)
        self._reports.delete(*names)

    # -- models

    @property
    def held(self) -> Held | None:
        """The current global model."""
        return self.values.read(Held, _HELD)

    def hold(self, held: Held, arrived: Unfinished | bytes | None = None) -> None:
        """Make a verified model the current one; older ones are deleted.

        A preparation for another plan or model is void from now on. What came along with an offer is not synced: after
        a power cut the model before is here again, whole, and this one comes along again.

        Args:
            held: the model.
            arrived: its whole file, if it is not here yet: as it came along, or as it was fetched (see
                ``unfinished_model``).
        """
        if isinstance(arrived, Unfinished):
            arrived.commit()
        elif arrived is not None:
            self._models.write_large("global", held.sha256, arrived)
        has_files = self._models.has_files("global")  # which are deleted: what takes their place has to be safe before
        with self.values.changing(durable=has_files or arrived is None) as tx:
            if isinstance(arrived, bytes):
                self._models.put_small(tx, "global", held.sha256, arrived)
            self._models.keep_only_rows(tx, "global", held.sha256)
            put(tx, _HELD, held)
            prepared = prepared_now(tx)
            if prepared and not is_for(prepared, held):
                move(tx, prepared, PreparationEvent.NEW_MODEL)
        if has_files:
            self._models.keep_only("global", held.sha256)

    def unfinished_model(self, sha256: bytes) -> Unfinished:
        """What has arrived of a global model, to be continued; there is only one such file, and ``hold`` keeps it."""
        return self._models.unfinished(sha256)

    def measured(self, held: Held, measured: StoredCounts) -> None:
        """Keep what the global model ``held`` was measured to be; a newer one may have come meanwhile.

        It can be measured again, so it is not synced.
        """
        with self.values.changing(durable=False) as tx:
            if _held(tx) == held:
                put(tx, _HELD, held.with_(measured=measured))

    @property
    def prepared(self) -> Prepared | None:
        """How far the preparation of the next report is."""
        return self.values.read(Prepared, PREPARED)

    def trained(self, prepared: Prepared, file: bytes, left: Left | None = None, sums: bytes | None = None) -> Prepared:
        """Step 1 is done: keep what it brought, the local model's ``file``, and that of the ``sums`` if it has some.

        Args:
            prepared, file: what it brought.
            left: what the algorithm has left beside, if anything.

        Returns:
            the preparation as it is kept; it is void if another model came while this one was trained on.
        """
        summed = self.account.files
        made: list[tuple[Made, bytes, bytes]] = [("local", prepared.head, file)]
        if prepared.sums is not None and sums is not None:
            made.append(("sums", prepared.sums, sums))
        for each in made:
            self._models.write_large(*each)
        with self.values.changing() as tx:
            for each in made:
                self._models.put_small(tx, *each)
            self._models.keep_only_rows(tx, "local", prepared.head)
            self._models.keep_only_rows(tx, "sums", prepared.sums, *summed)
            before, held = prepared_now(tx), _held(tx)
            kept = move(tx, prepared.with_(state=state_of(before).value), PreparationEvent.TRAIN)
            if held is None or not is_for(kept, held):
                kept = move(tx, kept, PreparationEvent.NEW_MODEL)
            memories.trained(tx, prepared.head, left)
        self._models.keep_only("local", prepared.head)
        self._models.keep_only("sums", prepared.sums, *summed)
        return kept

    @property
    def course(self) -> Course | None:
        """How the last training went."""
        return self.values.read(Course, _COURSE)

    def keep_course(self, course: Course) -> None:
        """Keep how the last training went. It is there to be looked at, so it is not synced."""
        with self.values.changing(durable=False) as tx:
            put(tx, _COURSE, course)

    def announced(self, prepared: Prepared) -> None:
        """Step 2 is done for this preparation, unless it is another one by now."""
        with self.values.changing() as tx:
            if prepared_now(tx) == prepared:
                move(tx, prepared, PreparationEvent.ANNOUNCE)

    def global_file(self, sha256: bytes) -> bytes:
        """The current global model's file.

        Raises:
            NotFound: it is not here. StorageError: damaged.
        """
        return self._models.read("global", sha256)

    def local_file(self, sha256: bytes) -> bytes:
        """The local model's file; errors as in ``global_file``."""
        return self._models.read("local", sha256)

    def sums_file(self, sha256: bytes) -> bytes:
        """The file with sums of a preparation, or what is counted; errors as in ``global_file``."""
        return self._models.read("sums", sha256)

    # -- reports

    def commit(
        self,
        record: Record,
        y: NDArray[np.uint32],
        learned: Learned,
        use: Use | None = None,
        asked: InQuestion | None = None,
    ) -> None:
        """Keep a report before its first byte is sent, and that its manifest has been answered.

        Args:
            record, y, learned: the report.
            use: of what it was made of, in a training round.
            asked: what main counts of this device if the report counts, where it has sums.

        Raises:
            NotPossibleNow: the preparation is another one by now.
        """
        name, data = _y_name(record.mh), ring.to_bytes(y)
        is_small = small_files.is_small(len(data))
        if not is_small:
            self._reports.write_stream(name, [data], len(data), len(data))
        try:
            with self.values.changing() as tx:
                if is_small:
                    small_files.put(tx, name, bytes(data))
                _add_report(tx, record, learned)
                if use is not None:
                    use_up(tx, use, record.mh)
                if asked is not None:
                    counted.sent(tx, asked)
        except Exception:
            # A full disk, too: nobody would ask for this y, nor delete it.
            if not is_small and self.report(record.mh) is None:
                self._reports.delete(name)
            raise
        self._remember(record)

    def report(self, mh: bytes) -> Record | None:
        """The report for a manifest, if there is one."""
        if mh in self._unfinished:
            return self._unfinished[mh]
        with self.database.reading() as tx:
            data = _RECORD.scalar(tx, wanted=mh)
        return Record.decode(data) if data else None

    def unfinished(self) -> list[Record]:
        """The reports whose rounds are not over."""
        return list(self._unfinished.values())

    def _read_unfinished(self) -> list[Record]:
        with self.database.reading() as tx:
            rows = tx.execute(select(reports.c.record).where(reports.c.delivery != Delivery.ENDED.value))
            return [Record.decode(row.record) for row in rows]

    def _remember(self, record: Record) -> None:
        """What is in memory follows once it is durable."""
        others = {mh: other for mh, other in self._unfinished.items() if mh != record.mh}
        self._unfinished = others if record.at == Delivery.ENDED else others | {record.mh: record}

    def progress(self, record: Record) -> None:
        """A report was acknowledged or confirmed.

        Not synced: who sends it again gets the same receipt.
        """
        with self.database.transaction(durable=False) as tx:
            _replace(tx, record)
        self._remember(record)

    def finish(self, end: End, now: int) -> None:
        """A report's round is over: y is no longer needed; an abandoned round may be answered again.

        Args:
            end: what became of it.
            now: unix seconds.
        """
        record = end.record
        reason = end.left_out or end.reason
        line = {"result": end.result.value, "reason": reason, "included": end.was_included}
        with self.values.changing() as tx:
            _replace(tx, record)
            small_files.forget(tx, _y_name(record.mh))
            _END.run(tx, wanted=record.mh, **line)
            if end.result == Result.ABANDONED:
                tx.execute(delete(answered).where(answered.c.mh == record.mh))
            prepared, abandoned = prepared_now(tx), end.result == Result.ABANDONED
            stands = prepared is not None and prepared.at == Preparation.SENT and prepared.sent_in == record.mh
            if prepared is not None and stands:
                move(tx, prepared, PreparationEvent.ABANDONED if abandoned else PreparationEvent.ENDED)
            counts = end.result == Result.RELEASED and end.was_included
            memories.ended(tx, record.mh, counted=counts, may_be_sent_again=abandoned and stands)
            counted.ended(tx, record.mh, counted=counts, now=now)
        self._remember(record)
        self._reports.delete(_y_name(record.mh), durably=False)  # one that comes back is swept away at the start

    def open_y(self, mh: bytes) -> BinaryIO:
        """The stored y of a report; the caller closes it."""
        with self.database.reading() as tx:
            small = small_files.read(tx, _y_name(mh))
        return io.BytesIO(small) if small is not None else self._reports.open(_y_name(mh))

    def history(self, key: bytes, now: int) -> History:
        """What was answered under one ``answer_key`` ever, and how often at all in the day before ``now``.

        Args:
            key: of a manifest that may be answered; the others of a device's life do not matter to it.
            now: unix seconds.
        """
        with self.database.reading() as tx:
            keys = {row.answer_key: row.mh for row in _ANSWERED.all(tx, wanted=key)}
            return History(keys, _SINCE.scalar(tx, start=now - SECONDS_PER_DAY))


def _y_name(mh: bytes) -> str:
    return f"{mh.hex()}.y"


def _add_report(tx: Connection, record: Record, learned: Learned) -> None:
    values = {"mh": record.mh, "delivery": record.delivery, "committed_at": record.committed_at}
    line = {"mh": record.mh, "number": record.number, "kind": record.kind, "learned": learned.encode()}
    _ANSWER.run(tx, answer_key=record.answer_key, mh=record.mh)
    _REPORT.run(tx, record=record.encode(), **values)
    _ROUND.run(tx, asked_again=False, **line)


def _replace(tx: Connection, record: Record) -> None:
    _REPLACE.run(tx, wanted=record.mh, delivery=record.delivery, record=record.encode())


def read_held(database: Database) -> Held | None:
    """The current global model by a device's database, whether the device runs or not."""
    with database.reading() as tx:
        return _held(tx)


def _held(tx: Connection) -> Held | None:
    return stored(tx, Held, _HELD)
