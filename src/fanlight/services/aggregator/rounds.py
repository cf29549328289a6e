"""The rounds of the aggregator: the role machine of ``protocol.aggregator`` over database and report files.

Every method that changes a round runs one transaction: record, log entries and all that follows from them are stored
before a reply leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from fanlight.errors import FanlightError, NotFound, StorageError
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.aggregator_round import TABLE, TERMINAL, Event, Record, State, Step
from fanlight.protocol.catching_up import RESTORED, aggregator_catches_up
from fanlight.protocol.closing import read_releases
from fanlight.protocol.exchange import Words
from fanlight.protocol.manifest import Proposal, SignedManifest
from fanlight.services.aggregator import held_reports, round_table
from fanlight.services.aggregator.masked_sums import DEAD_ROUND, MaskedSums, sum_file, sum_hashes
from fanlight.services.aggregator.round_table import Stored
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.round_journal import RoundJournal
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import Database


class Rounds:
    """The rounds of one task.

    Args:
        database, log, keys, files: where things are kept.
        machine: the aggregator's identity.
        clock: unix seconds.
        monotonic: seconds that only grow.
        random_bytes: cryptographic source, for the draw of shards.

    Attributes:
        journal: what has happened to the rounds.
    """

    def __init__(
        self,
        database: Database,
        log: ChainedLog,
        keys: RoundKeys,
        files: BlobFolder,
        machine: Aggregator,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._log = log
        self._keys = keys
        self._files = files
        self._sums = MaskedSums(files, keys)
        self._machine = machine
        self._clock = clock
        self._over: list[tuple[int, list[str]]] = []  # rounds that have ended, and their files
        self._destroying = threading.Lock()  # main's orders and the operator's buttons may both come to it
        self._random_bytes = random_bytes
        self.journal = RoundJournal(monotonic)
        self._newest: Stored | None = None
        self._knows_newest = False
        self._newest_lock = threading.Lock()

    def latest(self) -> Stored | None:
        """The newest round, if any; in memory, since it is looked at many times a round."""
        with self._newest_lock:
            if not self._knows_newest:
                with self._database.reading() as tx:
                    self._newest = round_table.latest(tx)
                self._knows_newest = True
            return self._newest

    @contextmanager
    def _changing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that changes rounds; what is in memory is read anew once it is committed."""
        try:
            with self._database.transaction(durable=durable) as tx:
                yield tx
        finally:
            with self._newest_lock:
                self._knows_newest = False

    def offer(self, proposal: Proposal, cohort: Sequence[bytes]) -> bytes:
        """Countersign main's proposal; returns the signed manifest. The round key is stored before the manifest is.

        Main has our word on how the round before ended; if that was not stored yet, it is now.
        """
        key, secret = self._keys.fresh(), self._random_bytes(32)
        with self._changing() as tx:
            previous = round_table.latest(tx)
            record = previous.record if previous else None
            step = self._machine.offer(record, proposal, cohort, key.public, secret, int(self._clock()))
            if step.entries:
                self._keys.store(proposal.round, key)
                if previous is not None and not previous.told_main:
                    round_table.told_main(tx, previous.record.number)
                round_table.begin(tx, step.record, proposal.kind, self._clock())
                self._log.append(tx, step.entries)
        if step.entries:
            self.journal.moved(step.record.number, step.record.mh, "", step.record.state, kind=proposal.kind)
        return step.reply

    def open(self, signed: SignedManifest) -> bytes:
        """Main has signed too: reports may come for this manifest hash.

        After a power cut main says so again, unless a report has come meanwhile, which is durable with all before it.
        """
        with self._changing(durable=False) as tx:
            record = round_table.current(tx).record
            step = self._machine.open(record, signed)
            self._save(tx, step)
        self._say(record, step.record)
        return step.record.mh

    def catch_up(self, told: Words) -> bool:
        """Take over what we had signed of a round, as main tells it; had this state forgotten any of it?"""
        mh = SignedManifest.decode(told.manifest).hash
        with self._changing() as tx:
            newest = round_table.latest(tx)
            known = newest.record if newest is not None and newest.record.mh == mh else None
            step = aggregator_catches_up(self._machine, known, told)
            if not step.entries:
                return False
            if known is None:
                round_table.begin(tx, step.record, step.record.terms.proposal.kind, self._clock())
            self._save(tx, step)
        self.journal.moved(step.record.number, mh, known.state if known else "", step.record.state, reason=RESTORED)
        self._forget_if_over(step.record)
        self.destroy_ended()
        return True

    def since(self, number: int) -> list[Stored]:
        """The rounds from ``number`` on, oldest first."""
        with self._database.reading() as tx:
            return [stored for stored in round_table.every(tx) if stored.record.number >= number]

    def count(self, mh: bytes) -> int:
        """How many reports we hold."""
        with self._database.reading() as tx:
            return held_reports.count(tx, mh)

    def close(self) -> bytes:
        """Fix the set; returns the signed close.

        Raises:
            NotPossibleNow: too few reports, or the round is not collecting.
        """
        with self._changing() as tx:
            record = round_table.current(tx).record
            held = held_reports.of_round(tx, record.mh)
            step = self._machine.close(record, held, self._log.head(tx))
            self._save(tx, step)
        self._say(record, step.record, reports=len(held))
        return step.reply

    def take_verdict(self, data: bytes) -> Record:
        """Main's verdict: agreed, or abandoned."""
        with self._changing() as tx:
            record = round_table.current(tx).record
            step = self._judged(tx, record, data)
            self._save(tx, step)
        self._say(record, step.record)
        self._forget_if_over(step.record)
        self.destroy_ended()
        return step.record

    def release(self, verdict: bytes = b"") -> tuple[bytes, NDArray[np.uint32]]:
        """Store Y, then sign and store the one release (of each shard); returns both, on repetition the stored ones.

        Y is that of all shards, one after the other. It is empty if it is lost for good after it was signed: main then
        has the round fail, unless it had Y already.

        Args:
            verdict: main's, to sum, if it is not stored yet: it is stored in the transaction of the release, or, if
                there is no sum, in one of its own. After a death in between main gives it again.

        Raises:
            NotPossibleNow: the round is not agreed (or released) - said before the sum is computed.
            StorageError: a report or the round's key is lost (slugs ``DEAD_ROUND``), or the disk failed.
            NotAuthentic, Refused, Conflict: the verdict, see ``Aggregator.take_verdict``.
        """
        with self._database.reading() as tx:
            closed = round_table.current(tx).record
            judged = self._judged(tx, closed, verdict)
        agreed = judged.record
        TABLE.next(agreed.at, Event.RELEASE)
        if agreed.release:
            return agreed.release, self._stored_sum(agreed)
        try:
            vector = self._sum(agreed)
            self._sums.keep(agreed, vector)
            hashes = sum_hashes(agreed, vector)
        except FanlightError:
            if verdict:
                self.take_verdict(verdict)
            raise
        with self._changing() as tx:
            before = round_table.current(tx).record
            if before != closed:  # an operator's button was faster
                judged = self._judged(tx, before, verdict)
            self._log.append(tx, judged.entries)
            agreed = judged.record
            accepted = self._machine.accepted(agreed, held_reports.of_round(tx, agreed.mh))
            step = self._machine.release(agreed, accepted, hashes, self._log.head(tx))
            self._save(tx, step)
        self._say(before, agreed)
        self._say(agreed, step.record, devices=len(accepted), bytes=vector.nbytes)
        return step.reply, vector

    def _judged(self, tx: Connection, record: Record, verdict: bytes) -> Step:
        """What main's verdict makes of the round; empty if it has taken it already."""
        if not verdict:
            return Step(record, b"")
        return self._machine.take_verdict(record, verdict, held_reports.of_round(tx, record.mh))

    def _sum(self, record: Record) -> NDArray[np.uint32]:
        """Y over the accepted reports of an agreed (or released) round; see ``MaskedSums.compute``."""
        with self._database.reading() as tx:
            accepted = self._machine.accepted(record, held_reports.of_round(tx, record.mh))
            places = held_reports.places(tx, record.mh)
        return self._sums.compute(record, self._machine.shards(record, accepted), places)

    def _stored_sum(self, record: Record) -> NDArray[np.uint32]:
        """Y as it was signed. Should its file be lost or damaged, the reports, still here, give the same bytes.

        Empty if they are lost too: nothing can bring back what was signed, and nothing else may ever be released.
        """
        signed = [release.sum_hash for release in read_releases(record.release)]
        ways: tuple[Callable[[], NDArray[np.uint32]], ...] = (
            lambda: self._sums.kept(record),
            lambda: self._sum(record),
        )
        for found in ways:
            try:
                vector = found()
            except (NotFound, StorageError) as error:
                if not isinstance(error, NotFound) and error.slug not in DEAD_ROUND:
                    raise  # a disk that fails now may not fail later
            else:
                if vector.size and sum_hashes(record, vector) == signed:
                    return vector
        return np.zeros(0, np.uint32)

    def finish(self, data: bytes) -> bytes:
        """Main's signed outcome acknowledges the release; returns it with our signature. Every y can go now."""
        with self._changing() as tx:
            record = round_table.current(tx).record
            step = self._machine.finish(record, data)
            self._save(tx, step)
        self._say(record, step.record)
        self._forget_if_over(step.record)
        return step.reply

    def abandon(self, reason: str) -> bytes:
        """Give the round up; returns our signed outcome. All y are destroyed."""
        with self._changing() as tx:
            record = round_table.current(tx).record
            step = self._machine.abandon(record, reason)
            self._save(tx, step)
        self._say(record, step.record, reason=reason)
        self._forget_if_over(step.record)
        self.destroy_ended()
        return step.reply

    def told_main(self, number: int) -> None:
        """Main has our word on how round ``number`` ended."""
        with self._changing() as tx:
            round_table.told_main(tx, number)

    def forget_old(self) -> None:
        """Destroy what a crash may have left: keys and reports of rounds that are over; call at the start."""
        stored = self.latest()
        live = stored.record if stored is not None and stored.record.at not in TERMINAL else None
        self._keys.keep_only(live.number if live else None)
        with self._database.reading() as tx:
            kept = {*held_reports.files(tx, live.mh), sum_file(live)} if live else set()
        self._files.delete(*(file for file in self._files.names() if file not in kept))
        if live is None or live.at is not State.COLLECTING:
            self._files.give_up_all()

    def destroy_ended(self) -> None:
        """Destroy the key and every y of the rounds that have ended since the last call; many files take their time."""
        with self._destroying:
            while self._over:
                number, files = self._over[0]
                self._keys.destroy(number)
                self._files.delete(*files)
                self._over.pop(0)  # only now: what a disk refuses is tried again

    def _forget_if_over(self, record: Record) -> None:
        """Once the outcome is stored, the key and every y can go (see ``destroy_ended``)."""
        if record.at not in TERMINAL:
            return
        with self._database.reading() as tx:
            self._over.append((record.number, [*held_reports.files(tx, record.mh), sum_file(record)]))
        self._files.give_up_all()

    def _say(self, before: Record, after: Record, **facts: object) -> None:
        self.journal.moved(after.number, after.mh, before.state, after.state, **facts)

    def _save(self, tx: Connection, step: Step) -> None:
        round_table.save(tx, step.record, self._clock())
        self._log.append(tx, step.entries)
