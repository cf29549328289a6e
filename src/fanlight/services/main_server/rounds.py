"""The rounds of the main server: the role machine of ``protocol.main_server`` over the database.

Record, log entries and everything that follows from them are stored in one transaction before the reply leaves. What
takes long (opening seeds, unmasking) is computed between two transactions: the second one stores only if the round is
still what the first one read, else the other side asks again and gets the stored reply. It is computed one at a time:
an aggregator that lost patience asks again, and waits then for the answer that is being computed already.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, insert, select

from fanlight.core.segments import layout_words
from fanlight.errors import Conflict, NotFound, StorageError
from fanlight.protocol.catching_up import RESTORED, main_catches_up, main_words
from fanlight.protocol.closing import (
    CLOSE_LIMIT,
    SUM_NOT_USABLE,
    Close,
    Outcome,
    Result,
    SignedOutcome,
    read_releases,
)
from fanlight.protocol.exchange import ORDERED_BY_MAIN, Order, Words
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import TERMINAL, Record, State, Step
from fanlight.protocol.main_server import NOT_AS_RECEIPTED, MainServer
from fanlight.protocol.manifest import SignedManifest, manifest_hash
from fanlight.protocol.plan import Kind
from fanlight.protocol.signing import Signed
from fanlight.services.main_server import (
    changing_sums,
    device_models,
    measurements,
    members,
    notes,
    quarantine,
    round_table,
)
from fanlight.services.main_server.changers import Changers
from fanlight.services.main_server.made_room import MadeRoom
from fanlight.services.main_server.models import Models
from fanlight.services.main_server.proposals import Proposals
from fanlight.services.main_server.round_table import RoundLine, Stored
from fanlight.services.main_server.why_not import why_not_ask, why_not_publish
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.incidents import SECOND_RECEIPT, UNLISTED_RECEIPT
from fanlight.services.server.round_journal import RoundJournal
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.database import Database
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import beacons

log = structlog.get_logger(__name__)

_REPORT_ID: Final = Statement(
    select(beacons.c.report_id).where(beacons.c.mh == bindparam("wanted"), beacons.c.dev == bindparam("device"))
)
_BEACON: Final = Statement(insert(beacons))
_KEY_NEEDED: Final = (State.PROPOSED, State.OPEN, State.JUDGED, State.DISMISSED)


class Opened(NamedTuple):
    """A round that the aggregator has signed.

    Attributes:
        reply: the manifest with both signatures.
        cohort: whom it asks; none: all.
        withdrawn: the policy had changed before: the aggregator is asked to give it up.
    """

    reply: bytes
    cohort: Sequence[bytes]
    withdrawn: bool


class Rounds:
    """The rounds of one task.

    Args:
        database, log, keys, models, proposals: where things are kept and made.
        machine: main's identity.
        changers: who has said what it would change in the collected sums.
        clock: unix seconds.
        monotonic: seconds that only grow: how long things took.

    Attributes:
        journal: what has happened to them.
    """

    def __init__(  # noqa: PLR0913, PLR0917 one argument for each thing that rounds depend on
        self,
        database: Database,
        log: ChainedLog,
        keys: RoundKeys,
        models: Models,
        proposals: Proposals,
        machine: MainServer,
        changers: Changers,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._database = database
        self._log = log
        self._keys = keys
        self._models = models
        self._proposals = proposals
        self._machine = machine
        self._changers = changers
        self._clock = clock
        self._monotonic = monotonic
        self.journal = RoundJournal(monotonic)
        self._opened: tuple[int, float] | None = None  # the round that was opened last in this process, and when
        self._computing = threading.Lock()
        self._spent: int | None = None  # the newest round whose key has done its work

    def countersign(self, data: bytes) -> Opened:
        """The aggregator has signed the manifest.

        There is one manifest of a number, and what the aggregator has signed cannot be taken back; so a proposal whose
        rules hold no more, because it waited long, is opened to be given up.
        """
        with self._database.transaction() as tx:
            stored, now = round_table.named(tx, manifest_hash(Signed.decode(data).payload)), self._clock()
            step = self._machine.open(stored.record, data)
            if not step.entries:
                return Opened(step.reply, step.record.cohort, withdrawn=False)
            withdrawn = not self._proposals.is_current(tx, stored.record, now)
            asked = {"asked": Order.ABANDON.value, "reason": MadeRoom.FOR_RULES} if withdrawn else {}
            self._opened = step.record.number, self._monotonic()
            self._save(tx, step, opened_at=now, **asked)
        self._say(stored, step.record, kind=stored.kind)
        return Opened(step.reply, step.record.cohort, withdrawn)

    def beacon(self, mh: bytes, device: bytes, data: bytes) -> bytes | None:
        """A device's beacon, which is the aggregator's receipt. What it proves against the aggregator is logged.

        Returns:
            the model of an open round, if that was noted: who has reported has fetched it.
        """
        has_model: bytes | None = None
        with self._database.transaction() as tx:
            record = round_table.by_hash(tx, mh).record
            receipt = self._machine.take_beacon(record, device, data)
            known = _REPORT_ID.scalar(tx, wanted=mh, device=device)
            if known is None:
                now = self._clock()
                _BEACON.run(tx, mh=mh, dev=device, report_id=receipt.report_id, receipt=data, received_at=now)
                if record.at is State.OPEN:
                    has_model = record.terms.model
                    device_models.note_fetched(tx, device, has_model, now)
                if not self._machine.is_listed(record, device, receipt.report_id):
                    self._log.append(tx, [LogEntry(UNLISTED_RECEIPT, data)])
            elif known != receipt.report_id:
                self._log.append_once(tx, LogEntry(SECOND_RECEIPT, data))
        if known is None:
            self.journal.took("receipt taken", record.number, mh, device, len(data))
        return has_model

    def ask(self, order: Order, tx: Connection, made_room: MadeRoom | None = None) -> bytes:
        """Ask the aggregator to do something with the open round; returns its manifest hash.

        Args:
            order: what to do.
            tx: the caller's transaction.
            made_room: what the round is abandoned for, if it is for something.

        Raises:
            NotPossibleNow: there is no open round, or too few receipts for closing it.
        """
        stored = round_table.latest(tx)
        why = why_not_ask(tx, stored, order)
        if why is not None:
            raise why
        assert stored is not None
        round_table.ask(tx, stored.number, order, made_room or "")
        return stored.mh

    def judge(self, data: bytes) -> bytes:
        """The aggregator's close; returns the signed verdict.

        A repeated one may be of any round: the same bytes get the same answer for ever.
        """
        mh = Close.decode(Signed.decode(data, limit=CLOSE_LIMIT).payload, limit=CLOSE_LIMIT).mh
        with self._computing:
            return self._judge(mh, data)

    def _judge(self, mh: bytes, data: bytes) -> bytes:
        while True:
            with self._database.reading() as tx:
                stored = round_table.named(tx, mh)
                signers, beacons = members.signers(tx, stored.mh), round_table.reports_by_device(tx, stored.mh)
                head = self._log.head(tx)
                unfit = changing_sums.unfit(tx, stored.record.terms, self._changers)
            key = self._keys.load(stored.number)
            step = self._machine.judge(stored.record, data, signers, beacons, key, head, unfit)
            if not step.entries:
                return step.reply
            with self._database.transaction() as tx:
                self._refuse_changed(tx, stored)
                if round_table.reports_by_device(tx, stored.mh) != beacons:
                    continue  # a receipt has come meanwhile: if its report is not listed, the verdict has to say so
                self._save(tx, step, judged_at=self._clock())
                self._keep_evidence(tx, step.record)
            self._say_verdict(stored, step.record)
            return step.reply

    def _keep_evidence(self, tx: Connection, record: Record) -> None:
        """Receipts for reports that the aggregator's list leaves out, or replaces, are proof against it.

        And a seed that does not open is against the device that has signed its hash.
        """
        verdict, known = self._machine.verdict(record), beacons.c
        assert verdict is not None
        quarantine.take_verdict(tx, self._log, verdict, record.number)
        for rejection in verdict.rejected:
            if rejection.reason in NOT_AS_RECEIPTED:
                found = select(known.receipt).where(known.mh == record.mh, known.dev == rejection.device)
                self._log.append(tx, [LogEntry(UNLISTED_RECEIPT, tx.execute(found).scalar_one())])

    def release(self, data: bytes, vector: NDArray[np.uint32]) -> bytes:
        """The aggregator's release with Y, of all shards; returns our signed outcome. ``vector`` is unmasked in place.

        The round's key has done its work then (``destroy_spent_key``).
        A repeated one may be of the round before the newest: the aggregator never heard our answer.
        """
        mh = read_releases(data)[0].mh
        with self._computing:
            return self._release(mh, data, vector)

    def _release(self, mh: bytes, data: bytes, vector: NDArray[np.uint32]) -> bytes:
        with self._database.reading() as tx:
            stored = round_table.by_hash(tx, mh)
            check = changing_sums.check(tx, stored.record.terms)
        step = self._machine.take_release(stored.record, data, vector, self._keys.load(stored.number), check)
        if not step.entries:
            return step.reply
        with self._database.transaction() as tx:
            self._refuse_changed(tx, stored)
            self._use(tx, stored, step)
            count = step.totals.count if step.totals else len(self._machine.accepted(step.record))
            reason = _known_here(Outcome.decode(Signed.decode(step.reply).payload).reason, step.flaws)
            ended = {"participants": count, "reason": reason, "released_at": self._clock()}
            if step.totals is None:  # it failed: what was sent is lost
                device_models.forget_ready(tx, stored.model, sent_in=stored.mh)
            self._save(tx, step, **ended, asked=Order.NONE.value)
        # Only now: if the transaction had failed, the key would still be needed.
        self._spent = stored.number
        self._say(stored, step.record, devices=count, bytes=vector.nbytes, reason=reason, flaws=step.flaws)
        return step.reply

    @property
    def has_spent_key(self) -> bool:
        """Is there something for ``destroy_spent_key`` to do?"""
        return self._spent is not None

    def destroy_spent_key(self) -> None:
        """Destroy the key of a round that was released: after the aggregator has its answer, for it waits.

        If the disk refuses, it is tried again whenever the policy looks, and at the next start.
        """
        number = self._spent
        if number is None:
            return
        try:
            self._keys.destroy(number)
        except StorageError as error:
            log.warning("a round's key could not be destroyed", round=number, problem=error.message)
        else:
            self._spent = None if self._spent == number else self._spent

    def most_words(self) -> int:
        """Words in the longest sums that may be released now: of the newest round, or again of the one before."""
        with self._database.reading() as tx:
            terms = [record.terms for record in round_table.newest(tx, 2)]
        return max((layout_words(each.layout) * (each.shards or 1) for each in terms), default=0)

    def take_outcome(self, data: bytes) -> bytes:
        """The aggregator's signature on our outcome, or its signed abandonment; the manifest hash of the round."""
        outcome = Outcome.decode(SignedOutcome.decode(data).payload)
        with self._database.transaction() as tx:
            stored = round_table.by_hash(tx, outcome.mh)
            if outcome.result == Result.ABANDONED:
                step = self._machine.abandoned(stored.record, data)
                known = stored.reason if outcome.reason == ORDERED_BY_MAIN else ""
                self._save(tx, step, reason=known or outcome.reason, asked=Order.NONE.value)
            else:
                step = self._machine.countersigned(stored.record, data)
                self._save(tx, step)
        self._say(stored, step.record, reason=outcome.reason)
        if step.entries and outcome.result != Result.RELEASED:
            self._over(stored)
        if outcome.result == Result.ABANDONED:
            self._keys.destroy(stored.number)
        return outcome.mh

    def words(self, number: int) -> Words:
        """What is held of the first opened round from ``number`` on, for an aggregator that may have forgotten it.

        Raises:
            NotFound: there is none.
        """
        with self._database.reading() as tx:
            stored = round_table.opened_from(tx, number)
        if stored is None:
            raise NotFound(f"No round from {number} on is open or over.", slug="no-such-round")
        return main_words(stored.record)

    def catch_up(self, told: Words) -> bool:
        """Take over what we had signed of a round, as the aggregator tells it; had this state forgotten any of it?

        Raises:
            Conflict: there is another round of that number.
        """
        manifest = SignedManifest.decode(told.manifest)
        terms = manifest.terms.proposal
        with self._database.transaction() as tx:
            stored, newest = round_table.find(tx, manifest.hash), round_table.latest(tx)
            proposed = newest if newest is not None and newest.at is State.PROPOSED else None
            if stored is None and proposed is not None and proposed.record.proposal == terms.encode():
                stored = proposed
            step = main_catches_up(self._machine, stored.record if stored is not None else None, told)
            if not step.entries:
                return False
            if stored is None:
                if proposed is not None:
                    self._keys.destroy(proposed.number)  # before its number can be taken for that of the other round
                    round_table.withdraw(tx, proposed.number)
                elif newest is not None and newest.number >= terms.round:
                    raise Conflict(f"There is another round {terms.round}.", slug="round-spent")
                round_table.add(tx, step.record, Kind(terms.kind), terms.model)
            ended = {"reason": RESTORED} if step.record.at in TERMINAL else {}
            self._save(tx, step, opened_at=float(manifest.terms.opened_at), **ended)
            notes.keep(tx, notes.ATTEMPT_UP, 1)  # whoever has answered what is asked again must know that it is again
        self.journal.moved(step.record.number, manifest.hash, stored.state if stored else "", step.record.state)
        return True

    def publish(self, *, durable: bool = True) -> int:
        """Publish the version that the released round made (a measuring round makes none); returns the round.

        Args:
            durable: else a power cut may undo it (see ``Database.transaction``): whoever would do it again then.

        Raises:
            NotPossibleNow: no round is released.
        """
        with self._database.transaction(durable=durable) as tx:
            stored = round_table.latest(tx)
            if stored is None or stored.at is not State.RELEASED:
                raise why_not_publish(stored)
            step = self._machine.publish(stored.record)
            self._save(tx, step)
            self._models.publish(tx, stored.number)
            changing_sums.published(tx, stored, self._models.current(tx).number)
        self._over(stored)
        self._say(stored, step.record)
        return stored.number

    def destroy_old_keys(self) -> None:
        """Destroy what a crash between an outcome and its key's destruction may have left; call at the start."""
        with self._database.reading() as tx:
            line = round_table.latest_line(tx)
        self._keys.keep_only(line.number if line is not None and line.at in _KEY_NEEDED else None)

    def _over(self, line: RoundLine) -> None:
        if line.kind == Kind.CHANGES:
            self._changers.begin_anew()

    def _use(self, tx: Connection, stored: Stored, step: Step) -> None:
        if step.totals is not None:
            measurements.store(tx, stored.number, stored.model, step.totals)
            self._models.add(tx, step.totals, stored.model, stored.number, self._clock())
            self._proposals.adapt_clip(tx, stored.record.terms, step.totals)

    def _say_verdict(self, stored: Stored, record: Record) -> None:
        verdict = self._machine.verdict(record)
        if stored.state == record.state or verdict is None:
            return
        for entry in verdict.rejected:
            self.journal.rejected(record.number, record.mh, entry.device, entry.reason)
        self._say(stored, record, accepted=len(verdict.accepted), rejected=len(verdict.rejected))

    def _say(self, stored: RoundLine, record: Record, **facts: object) -> None:
        self.journal.moved(record.number, record.mh, stored.state, record.state, **facts)

    @staticmethod
    def _refuse_changed(tx: Connection, stored: Stored) -> None:
        if round_table.by_hash(tx, stored.mh).record != stored.record:
            raise Conflict("The round has changed meanwhile.", next="Ask again.", slug="round-changed")

    def _save(self, tx: Connection, step: Step, **values: Any) -> None:
        opened = self._opened
        lasted_s = self._monotonic() - opened[1] if opened and opened[0] == step.record.number else None
        round_table.save(tx, step.record, self._clock(), lasted_s, **values)
        self._log.append(tx, step.entries)


def _known_here(reason: str, flaws: Sequence[str]) -> str:
    """Why a round failed as main's operator sees it: the check that its sum, or that of all its shards, has failed."""
    return flaws[0] if reason == SUM_NOT_USABLE and len(set(flaws)) == 1 else reason
