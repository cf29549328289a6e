"""The rounds of the aggregator: the role machine of ``protocol.aggregator`` over database and report files.

Every method that changes a round runs one transaction: record, log entries and all that follows from them are stored
before a reply leaves. A report's y lies in a file of its own, written durably before its receipt is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, insert, select, update

from fanlight.core import ring
from fanlight.core.masks import MaskStream
from fanlight.errors import NotAuthentic, NotEnrolled, NotFound, NotPossibleNow, RemoteError, StorageError
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.aggregator_round import TABLE, TERMINAL, Event, Held, Record, State, Step
from fanlight.protocol.closing import Release
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.manifest import Proposal, SignedManifest
from fanlight.protocol.report import PREFIX_BYTES, REPORT, Envelope, ReportHeader
from fanlight.protocol.sealing import MASK_AGGREGATOR, mask_key, open_seed
from fanlight.protocol.signing import Signed, verify_bytes
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.membership import Membership
from fanlight.services.server.round_journal import RoundJournal
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import Database
from fanlight.storage.tables import aggregator as tables

PIECE_BYTES: Final = 1 << 20
DEAD_ROUND: Final = frozenset({"round-key-lost", "report-damaged", "report-lost"})
"""Why a sum can never be released: slugs of the errors of ``Rounds.sum``."""

ENDED = frozenset(state.value for state in TERMINAL)


@dataclass(frozen=True)
class Stored:
    """A round with what the aggregator keeps beside the machine's record.

    Attributes:
        record: the machine's.
        told_main: does main have our word on how it ended.
        opened_at, ended_at: unix seconds.
    """

    record: Record
    told_main: bool
    opened_at: float
    ended_at: float | None


class Rounds:
    """The rounds of one task.

    Args:
        database, log, keys, files: where things are kept.
        machine: the aggregator's identity.
        membership: who may report; ``confirmed`` narrows it to devices that main has too.
        clock: unix seconds.

    Attributes:
        confirmed: the devices that main has as members too.
        journal: what has happened to the rounds.
    """

    def __init__(
        self,
        database: Database,
        log: ChainedLog,
        keys: RoundKeys,
        files: BlobFolder,
        machine: Aggregator,
        membership: Membership,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._log = log
        self._keys = keys
        self._files = files
        self._machine = machine
        self._membership = membership
        self._clock = clock
        self.confirmed: frozenset[bytes] = frozenset()
        self.journal = RoundJournal(clock)

    def latest(self) -> Stored | None:
        """The newest round, if any."""
        with self._database.transaction() as tx:
            return self._latest(tx)

    def all(self) -> list[Stored]:
        """All rounds, oldest first."""
        with self._database.transaction() as tx:
            return [_stored(row) for row in tx.execute(select(tables.rounds).order_by(tables.rounds.c.number))]

    def page(self, offset: int, limit: int) -> list[Stored]:
        """Some of the rounds, newest first: each comes with its close, which can be large."""
        with self._database.transaction() as tx:
            found = select(tables.rounds).order_by(tables.rounds.c.number.desc())
            return [_stored(row) for row in tx.execute(found.offset(offset).limit(limit))]

    def total(self) -> int:
        """How many rounds there are."""
        with self._database.transaction() as tx:
            return int(tx.execute(select(func.count()).select_from(tables.rounds)).scalar_one())

    def numbered(self, number: int) -> Stored:
        """The round of this number.

        Raises:
            NotFound: there is none.
        """
        with self._database.transaction() as tx:
            row = tx.execute(select(tables.rounds).where(tables.rounds.c.number == number)).first()
        if row is None:
            raise NotFound(f"There is no round {number}.")
        return _stored(row)

    def counts(self) -> dict[str, int]:
        """How many rounds there are in each state."""
        with self._database.transaction() as tx:
            state = tables.rounds.c.state
            return {str(row[0]): int(row[1]) for row in tx.execute(select(state, func.count()).group_by(state))}

    def offer(self, proposal: Proposal, cohort: Sequence[bytes]) -> bytes:
        """Countersign main's proposal; returns the signed manifest. The round key is stored before the manifest is."""
        key = self._keys.fresh()
        with self._database.transaction() as tx:
            previous = self._latest(tx)
            record = previous.record if previous else None
            step = self._machine.offer(record, proposal, cohort, key.public, int(self._clock()))
            if step.entries:
                self._keys.store(proposal.round, key)
                values = {"number": proposal.round, "kind": proposal.kind, "opened_at": self._clock()}
                tx.execute(insert(tables.rounds).values(**values, **_columns(step.record)))
                self._log.append(tx, step.entries)
        if step.entries:
            self.journal.moved(step.record.number, step.record.mh, "", step.record.state, kind=proposal.kind)
        return step.reply

    def open(self, signed: SignedManifest) -> None:
        """Main has signed too: reports may come."""
        with self._database.transaction() as tx:
            record = self._current(tx).record
            step = self._machine.open(record, signed)
            self._save(tx, step)
        self._say(record, step.record)

    def check_member(self, device: bytes) -> bytes:
        """The public key of a device that is a member at both servers.

        Raises:
            NotEnrolled: it is not.
        """
        known = self._membership.resolve(device.hex())
        if known is None or device not in self.confirmed:
            raise NotEnrolled(
                "This device is not (yet) a member at both servers.",
                next="Wait a moment and send again; if it stays so, enrol with a fresh token.",
                slug="not-confirmed" if known else "not-enrolled",
                device=device.hex(),
            )
        return self._membership.public_keys()[device]

    def is_signed_by(self, mh: bytes, device: bytes, envelope: Envelope) -> bool:
        """Has this device signed a report of this round with this envelope?"""
        try:
            header = ReportHeader.decode(verify_bytes(self.check_member(device), REPORT, envelope.header))
        except RemoteError:
            return False
        return (header.mh, header.device) == (mh, device)

    def check_report(self, mh: bytes, device: bytes, envelope: Envelope) -> ReportHeader:
        """Everything that can be checked before y arrives.

        Raises:
            NotFound: no such round. NotEnrolled: the device is not a member at both servers.
            NotAuthentic, Refused, NotPossibleNow: see the machine.
        """
        public_key = self.check_member(device)
        with self._database.transaction() as tx:
            stored = self._by_hash(tx, mh)
        key = self._keys.load(stored.record.number)
        if key is None:
            raise NotPossibleNow("This round is over.", slug="round-over", next="Wait for the next round.")
        header = self._machine.check_report(stored.record, envelope, public_key, key, int(self._clock()))
        if header.device != device:
            raise NotAuthentic(
                "The report is another device's than the request.", slug="foreign-report", device=device.hex()
            )
        return header

    def take_report(self, mh: bytes, envelope: Envelope, header: ReportHeader, file: str) -> bytes:
        """Take a checked report whose y lies durably in ``file``; returns the signed receipt."""
        with self._database.transaction() as tx:
            stored = self._by_hash(tx, mh)
            row = tx.execute(
                select(tables.reports).where(tables.reports.c.mh == mh, tables.reports.c.dev == header.device)
            ).first()
            held = Held(row.dev, Envelope.decode(row.envelope)) if row else None
            step = self._machine.take_report(
                stored.record, held, self._count(tx, mh), envelope, header, int(self._clock())
            )
            if row is not None:
                receipt: bytes = row.receipt
                return receipt
            tx.execute(
                insert(tables.reports).values(
                    mh=mh,
                    dev=header.device,
                    envelope=envelope.encode(),
                    file=file,
                    receipt=step.reply,
                    received_at=self._clock(),
                )
            )
        size = report_bytes(envelope.encode(), header.length)
        self.journal.took("report taken", stored.record.number, mh, header.device, size)
        return step.reply

    def holds(self, mh: bytes, device: bytes) -> tuple[str, bytes] | None:
        """The file of a device's report and the receipt for it, if we have one; the receipt outlives the file."""
        columns = tables.reports.c
        with self._database.transaction() as tx:
            found = select(columns.file, columns.receipt).where(columns.mh == mh, columns.dev == device)
            row = tx.execute(found).first()
        return (row.file, row.receipt) if row else None

    def needs(self, mh: bytes, device: bytes, file: str) -> bool:
        """Is ``file`` a report of a round that is not over?"""
        held = self.holds(mh, device)
        if held is None or held[0] != file:
            return False
        with self._database.transaction() as tx:
            return self._by_hash(tx, mh).record.at not in TERMINAL

    def count(self, mh: bytes) -> int:
        """How many reports we hold."""
        with self._database.transaction() as tx:
            return self._count(tx, mh)

    def close(self) -> bytes:
        """Fix the set; returns the signed close.

        Raises:
            NotPossibleNow: too few reports, or the round is not collecting.
        """
        with self._database.transaction() as tx:
            record = self._current(tx).record
            held = self._held(tx, record.mh)
            step = self._machine.close(record, held, self._log.head(tx))
            self._save(tx, step)
        self._say(record, step.record, reports=len(held))
        return step.reply

    def take_verdict(self, data: bytes) -> Record:
        """Main's verdict: agreed, or abandoned."""
        with self._database.transaction() as tx:
            record = self._current(tx).record
            step = self._machine.take_verdict(record, data, self._held(tx, record.mh))
            self._save(tx, step)
        self._say(record, step.record)
        self._forget_if_over(step.record)
        return step.record

    def sum(self) -> NDArray[np.uint32]:
        """Y = Σy − Σmask_A over the accepted reports of the agreed (or released) round; (d,) uint32.

        One y is in memory a MiB at a time, so memory does not grow with the number of reports.
        """
        with self._database.transaction() as tx:
            record = self._current(tx).record
            accepted = self._machine.accepted(record, self._held(tx, record.mh))
            files = {
                row.dev: row.file for row in tx.execute(select(tables.reports).where(tables.reports.c.mh == record.mh))
            }
        key = self._keys.load(record.number)
        if key is None:
            raise StorageError("The round's key is gone; its reports cannot be opened.", slug="round-key-lost")
        total = np.zeros(record.terms.length, np.uint32)
        for held in accepted:
            seed = open_seed(held.envelope.sealed_aggregator, key, MASK_AGGREGATOR, record.mh, held.device)
            mask = MaskStream(mask_key(seed, MASK_AGGREGATOR, record.mh, held.device))
            self._add(total, files[held.device], mask)
        return total

    def _add(self, total: NDArray[np.uint32], file: str, mask: MaskStream) -> None:
        at = 0
        with self._open(file) as stream:
            while piece := stream.read(PIECE_BYTES):
                words = np.frombuffer(piece, "<u4").astype(np.uint32)
                mask.subtract_from(words)
                ring.add_into(total[at : at + words.size], words)
                at += words.size
        if at != total.size:
            raise StorageError(f"The report file {file} has {at} words instead of {total.size}.", slug="report-damaged")

    def _open(self, file: str) -> BinaryIO:
        try:
            return self._files.open(file)
        except NotFound as error:
            raise StorageError(f"The report file {file} is gone.", slug="report-lost") from error

    def release(self) -> tuple[bytes, NDArray[np.uint32]]:
        """Store Y, then sign and store the one release; returns both, on repetition the stored ones.

        Y is empty if it is lost for good after it was signed: main then has the round fail, unless it had Y already.

        Raises:
            NotPossibleNow: the round is not agreed (or released) - said before the sum is computed.
            StorageError: a report or the round's key is lost (slugs ``DEAD_ROUND``), or the disk failed.
        """
        stored = self.latest()
        if stored is None:
            raise no_round()
        TABLE.next(stored.record.at, Event.RELEASE)
        if stored.record.release:
            return stored.record.release, self._stored_sum(stored.record)
        vector = self.sum()
        data = vector.astype("<u4", copy=False).tobytes()
        self._files.write_stream(_sum_file(stored.record), [data], len(data), len(data))
        with self._database.transaction() as tx:
            record = self._current(tx).record
            accepted = self._machine.accepted(record, self._held(tx, record.mh))
            step = self._machine.release(record, accepted, vector_digest([data]), self._log.head(tx))
            self._save(tx, step)
        self._say(record, step.record, devices=len(accepted), bytes=len(data))
        return step.reply, vector

    def _stored_sum(self, record: Record) -> NDArray[np.uint32]:
        """Y as it was signed. Should its file be lost or damaged, the reports, still here, give the same bytes.

        Empty if they are lost too: nothing can bring back what was signed, and nothing else may ever be released.
        """
        signed = Release.decode(Signed.decode(record.release).payload).sum_hash
        ways: tuple[Callable[[], NDArray[np.uint32]], ...] = (lambda: self._sum_on_disk(record), self.sum)
        for found in ways:
            try:
                vector = found()
            except (NotFound, StorageError) as error:
                if not isinstance(error, NotFound) and error.slug not in DEAD_ROUND:
                    raise  # a disk that fails now may not fail later
            else:
                if vector.size and vector_digest([vector.astype("<u4", copy=False).data.cast("B")]) == signed:
                    return vector
        return np.zeros(0, np.uint32)

    def _sum_on_disk(self, record: Record) -> NDArray[np.uint32]:
        data = self._files.read(_sum_file(record))
        return np.frombuffer(data[: len(data) // 4 * 4], "<u4").astype(np.uint32)

    def finish(self, data: bytes) -> bytes:
        """Main's signed outcome acknowledges the release; returns it with our signature. All y are destroyed."""
        with self._database.transaction() as tx:
            record = self._current(tx).record
            step = self._machine.finish(record, data)
            self._save(tx, step)
        self._say(record, step.record)
        self._forget_if_over(step.record)
        return step.reply

    def abandon(self, reason: str) -> bytes:
        """Give the round up; returns our signed outcome. All y are destroyed."""
        with self._database.transaction() as tx:
            record = self._current(tx).record
            step = self._machine.abandon(record, reason)
            self._save(tx, step)
        self._say(record, step.record, reason=reason)
        self._forget_if_over(step.record)
        return step.reply

    def told_main(self, number: int) -> None:
        """Main has our word on how round ``number`` ended."""
        with self._database.transaction() as tx:
            tx.execute(update(tables.rounds).where(tables.rounds.c.number == number).values(told_main=True))

    def forget_old(self) -> None:
        """Destroy what a crash may have left: keys and reports of rounds that are over; call at the start."""
        stored = self.latest()
        live = stored.record if stored is not None and stored.record.at not in TERMINAL else None
        self._keys.keep_only(live.number if live else None)
        with self._database.transaction() as tx:
            columns = tables.reports.c
            rows = tx.execute(select(columns.file).where(columns.mh == live.mh)) if live else ()
            kept = {row.file for row in rows} | ({_sum_file(live)} if live else set())
        for file in self._files.names():
            if file not in kept:
                self._files.delete(file)
        if live is None or live.at is not State.COLLECTING:
            self._files.give_up_all()

    def _forget_if_over(self, record: Record) -> None:
        """Destroy the round's key and every y, once the outcome is stored."""
        if record.at not in TERMINAL:
            return
        self._keys.destroy(record.number)
        with self._database.transaction() as tx:
            files = [
                row.file for row in tx.execute(select(tables.reports.c.file).where(tables.reports.c.mh == record.mh))
            ]
        for file in (*files, _sum_file(record)):
            self._files.delete(file)
        self._files.give_up_all()

    def _current(self, tx: Connection) -> Stored:
        stored = self._latest(tx)
        if stored is None:
            raise no_round()
        return stored

    def _latest(self, tx: Connection) -> Stored | None:
        row = tx.execute(select(tables.rounds).order_by(tables.rounds.c.number.desc()).limit(1)).first()
        return _stored(row) if row else None

    def _by_hash(self, tx: Connection, mh: bytes) -> Stored:
        row = tx.execute(select(tables.rounds).where(tables.rounds.c.mh == mh)).first()
        if row is None:
            raise NotFound("There is no round with this manifest.")
        return _stored(row)

    @staticmethod
    def _held(tx: Connection, mh: bytes) -> list[Held]:
        rows = tx.execute(select(tables.reports).where(tables.reports.c.mh == mh).order_by(tables.reports.c.dev))
        return [Held(row.dev, Envelope.decode(row.envelope)) for row in rows]

    @staticmethod
    def _count(tx: Connection, mh: bytes) -> int:
        statement = select(func.count()).select_from(tables.reports).where(tables.reports.c.mh == mh)
        return int(tx.execute(statement).scalar_one())

    def _say(self, before: Record, after: Record, **facts: object) -> None:
        self.journal.moved(after.number, after.mh, before.state, after.state, **facts)

    def _save(self, tx: Connection, step: Step) -> None:
        columns = _columns(step.record)
        if step.record.state in ENDED and step.entries:
            columns["ended_at"] = self._clock()
        tx.execute(update(tables.rounds).where(tables.rounds.c.number == step.record.number).values(**columns))
        self._log.append(tx, step.entries)


def report_bytes(envelope: bytes, words: int) -> int:
    """Bytes of a report's body as it came: the envelope's length, the envelope, y."""
    return PREFIX_BYTES + len(envelope) + 4 * words


def forget_reports(tx: Connection, device: bytes) -> None:
    """Delete the receipts and envelopes of a device that has left.

    What it has handed in for the newest round stays until that is over: a set from which one was taken would give that
    one away.
    """
    newest = select(tables.rounds.c.mh).order_by(tables.rounds.c.number.desc()).limit(1)
    columns = tables.reports.c
    tx.execute(delete(tables.reports).where(columns.dev == device, columns.mh.not_in(newest)))
    tx.execute(delete(tables.refusals).where(tables.refusals.c.dev == device))


def _sum_file(record: Record) -> str:
    return f"{record.mh.hex()}.sum"


def no_round() -> NotPossibleNow:
    """The error while there was no round yet."""
    return NotPossibleNow(
        "There was no round yet.",
        next="A round opens when enough devices are enrolled at both servers.",
        slug="no-open-round",
    )


def _columns(record: Record) -> dict[str, Any]:
    return {"mh": record.mh, "state": record.state, "record": record.encode()}


def _stored(row: Any) -> Stored:
    return Stored(Record.decode(row.record, limit=1 << 26), row.told_main, row.opened_at, row.ended_at)
