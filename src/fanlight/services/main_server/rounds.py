"""The rounds of the main server: the role machine of ``protocol.main_server`` over the database.

Every method runs one transaction: it loads the round, lets the machine decide, and stores record, log entries and
everything that follows from them before the reply leaves.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select, update

from fanlight.core.adaptive_clip import FIRST_CLIP, next_clip
from fanlight.core.segments import layout_length
from fanlight.errors import Conflict, NotFound, NotPossibleNow
from fanlight.protocol.closing import Outcome, Release, Result, SignedOutcome
from fanlight.protocol.contribution import Totals, clip_of, expected_layout
from fanlight.protocol.exchange import Order
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_server import TERMINAL, MainServer, Record, State, Step
from fanlight.protocol.manifest import SUITE, Manifest, Proposal, cohort_hash
from fanlight.protocol.plan import Kind
from fanlight.protocol.signing import Signed
from fanlight.services.main_server import measurements
from fanlight.services.main_server.models import Models
from fanlight.services.main_server.task import Task
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.database import Database
from fanlight.storage.tables import main as tables

ENDED = frozenset(state.value for state in TERMINAL)


@dataclass(frozen=True)
class Stored:
    """A round with what main keeps beside the machine's record.

    Attributes:
        record: the machine's.
        model: SHA-256 of the model it starts from.
        asked: what the aggregator is asked to do with it.
        participants: devices in the sum, 0 before.
        reason: why it failed or was abandoned.
        opened_at, ended_at: unix seconds.
    """

    record: Record
    model: bytes
    asked: Order
    participants: int
    reason: str
    opened_at: float | None
    ended_at: float | None


class Rounds:
    """The rounds of one task.

    Args:
        database, log, keys, models: where things are kept.
        machine: main's identity.
        task: what is learned.
        members: current public key by device, of those enrolled at both servers.
        clock: unix seconds.
    """

    def __init__(
        self,
        database: Database,
        log: ChainedLog,
        keys: RoundKeys,
        models: Models,
        machine: MainServer,
        task: Task,
        members: Callable[[Connection], dict[bytes, bytes]],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._log = log
        self._keys = keys
        self._models = models
        self._machine = machine
        self._task = task
        self._members = members
        self._clock = clock

    def latest(self, tx: Connection) -> Stored | None:
        """The newest round, if any."""
        row = tx.execute(select(tables.rounds).order_by(tables.rounds.c.number.desc()).limit(1)).first()
        return _stored(row) if row else None

    def all(self, tx: Connection) -> list[Stored]:
        """All rounds, oldest first."""
        return [_stored(row) for row in tx.execute(select(tables.rounds).order_by(tables.rounds.c.number))]

    def by_hash(self, tx: Connection, mh: bytes) -> Stored:
        """The round with this manifest.

        Raises:
            NotFound: there is none.
        """
        row = tx.execute(select(tables.rounds).where(tables.rounds.c.mh == mh)).first()
        if row is None:
            raise NotFound("There is no round with this manifest.")
        return _stored(row)

    def propose(self, tx: Connection, kind: Kind) -> None:
        """Begin the next round. The round key is written first: a proposal without its key would be a dead round."""
        previous = self.latest(tx)
        number = previous.record.number + 1 if previous else 1
        attempt = 0
        if previous is not None:
            attempt = previous.record.attempt + (previous.record.at is State.FAILED)
        model = self._models.current(tx)
        cohort = self._sample(tx)
        plan, policy = self._task.plan.of_kind(kind), self._task.policy
        with_counts = measurements.of_model(tx, model.sha256) is None
        proposal = Proposal(
            fid=self._machine.trust.fid,
            suite=SUITE,
            task=self._task.name,
            round=number,
            attempt=attempt,
            kind=kind.value,
            model=model.sha256,
            plan=plan.hash,
            layout=expected_layout(plan, policy.n_max, self._clip_micro(tx), with_counts=with_counts),
            cohort=cohort_hash(cohort) if cohort else b"",
            n_max=policy.n_max,
            k_min=policy.k_min,
            r_max_percent=policy.r_max_percent,
            window_s=policy.window,
            demo=policy.demo,
            main_key=self._keys.make(number),
            noise=0,
        )
        step = self._machine.propose(previous.record if previous else None, proposal, cohort)
        values = {"model": model.sha256, "asked": Order.NONE.value, "participants": 0, "reason": ""}
        tx.execute(insert(tables.rounds).values(number=number, kind=kind.value, **values, **_columns(step.record)))
        self._log.append(tx, step.entries)

    def countersign(self, data: bytes) -> bytes:
        """The aggregator has signed the manifest; returns it with both signatures."""
        with self._database.transaction() as tx:
            stored = self._latest_or_conflict(tx)
            step = self._machine.open(stored.record, data)
            opened = {} if stored.opened_at else {"opened_at": self._clock()}
            self._save(tx, step, **opened)
        return step.reply

    def beacon(self, mh: bytes, device: bytes, data: bytes) -> None:
        """A device's beacon, which is the aggregator's receipt."""
        with self._database.transaction() as tx:
            receipt = self._machine.take_beacon(self.by_hash(tx, mh).record, device, data)
            known = tables.beacons
            row = tx.execute(select(known.c.report_id).where(known.c.mh == mh, known.c.dev == device)).first()
            if row is None:
                values = {"report_id": receipt.report_id, "receipt": data, "received_at": self._clock()}
                tx.execute(insert(known).values(mh=mh, dev=device, **values))
            elif row.report_id != receipt.report_id:
                self._log.append(tx, [LogEntry("second-receipt", data)])

    def beacons(self, tx: Connection, mh: bytes) -> dict[bytes, bytes]:
        """Report id by device, of the receipts for a round."""
        columns = tables.beacons.c
        rows = tx.execute(select(columns.dev, columns.report_id).where(columns.mh == mh))
        return {row.dev: row.report_id for row in rows}

    def ask(self, order: Order) -> bytes:
        """Ask the aggregator to do something with the open round; returns its manifest hash.

        Raises:
            NotPossibleNow: there is no open round, or too few receipts for closing it.
        """
        with self._database.transaction() as tx:
            stored = self.latest(tx)
            why = self.why_not_ask(tx, stored, order)
            if why is not None:
                raise why
            assert stored is not None
            self._set_asked(tx, stored, order)
            return stored.record.mh

    def why_not_ask(self, tx: Connection, stored: Stored | None, order: Order) -> NotPossibleNow | None:
        """Why ``order`` cannot be given now, or None."""
        if stored is None or stored.record.at not in (State.OPEN, State.JUDGED):
            return NotPossibleNow(
                "No round is open."
                if stored is None or stored.record.at in TERMINAL
                else f"Round {stored.record.number} is {stored.record.state}.",
                next="A round opens when enough devices are enrolled at both servers and the aggregator runs."
                if stored is None or stored.record.at in (*TERMINAL, State.PROPOSED)
                else "Publish the new model (/send_model_clients).",
                slug="no-open-round",
            )
        arrived = len(self.beacons(tx, stored.record.mh))
        if order in (Order.CLOSE, Order.FINISH) and arrived < stored.record.terms.k_min:
            return NotPossibleNow(
                f"Round {stored.record.number} has {arrived} of the {stored.record.terms.k_min} reports it needs.",
                next="Let more devices send their models (device page /sendmodel), then try again.",
                slug="too-few-reports",
            )
        return None

    def judge(self, data: bytes) -> bytes:
        """The aggregator's close; returns the signed verdict."""
        with self._database.transaction() as tx:
            stored = self._latest_or_conflict(tx)
            step = self._machine.judge(
                stored.record,
                data,
                self._members(tx),
                self.beacons(tx, stored.record.mh),
                self._keys.load(stored.record.number),
                self._log.head(tx),
            )
            self._save(tx, step)
        return step.reply

    def release(self, data: bytes, vector: NDArray[np.uint32]) -> bytes:
        """The aggregator's release with Y; returns our signed outcome. ``vector`` is unmasked in place.

        A repeated one may be of the round before the newest: the aggregator never heard our answer.
        """
        mh = Release.decode(Signed.decode(data).payload).mh
        with self._database.transaction() as tx:
            stored = self.by_hash(tx, mh)
            number = stored.record.number
            step = self._machine.take_release(stored.record, data, vector, self._keys.load(number))
            if step.totals is not None:
                self._use(tx, stored, step.totals)
            if step.entries:
                count = len(self._machine.accepted(step.record))
                reason = Outcome.decode(Signed.decode(step.reply).payload).reason
                self._save(tx, step, participants=count, reason=reason, asked=Order.NONE.value)
        # Only now: if the transaction had failed, the key would still be needed.
        self._keys.destroy(number)
        return step.reply

    def most_words(self) -> int:
        """Words in the longest vector that may be released now: of the newest round, or again of the one before."""
        with self._database.transaction() as tx:
            newest = tables.rounds.c.number.desc()
            rows = tx.execute(select(tables.rounds).order_by(newest).limit(2))
            return max((layout_length(_stored(row).record.terms.layout) for row in rows), default=0)

    def take_outcome(self, data: bytes) -> None:
        """The aggregator's signature on our outcome, or its signed abandonment."""
        outcome = Outcome.decode(SignedOutcome.decode(data).payload)
        with self._database.transaction() as tx:
            stored = self.by_hash(tx, outcome.mh)
            if outcome.result == Result.ABANDONED:
                step = self._machine.abandoned(stored.record, data)
                self._save(tx, step, reason=outcome.reason, asked=Order.NONE.value)
            else:
                step = self._machine.countersigned(stored.record, data)
                self._save(tx, step)
        if outcome.result == Result.ABANDONED:
            self._keys.destroy(stored.record.number)

    def publish(self) -> int:
        """Publish the version that the released round made (a measuring round makes none); returns the round.

        Raises:
            NotPossibleNow: no round is released.
        """
        with self._database.transaction() as tx:
            stored = self.latest(tx)
            if stored is None or stored.record.at is not State.RELEASED:
                raise self.why_not_publish(stored)
            self._save(tx, self._machine.publish(stored.record))
            self._models.publish(tx, stored.record.number)
        return stored.record.number

    @staticmethod
    def why_not_publish(stored: Stored | None) -> NotPossibleNow:
        """Why there is nothing to publish."""
        state = f"Round {stored.record.number} is {stored.record.state}." if stored else "There was no round yet."
        return NotPossibleNow(
            f"There is no new model to publish. {state}",
            next="Aggregate first (/aggregate_models).",
            slug="nothing-to-publish",
        )

    def destroy_old_keys(self) -> None:
        """Destroy what a crash between an outcome and its key's destruction may have left; call at the start."""
        with self._database.transaction() as tx:
            stored = self.latest(tx)
        is_live = stored is not None and stored.record.at in (State.PROPOSED, State.OPEN, State.JUDGED, State.DISMISSED)
        self._keys.keep_only(stored.record.number if stored is not None and is_live else None)

    def _use(self, tx: Connection, stored: Stored, totals: Totals) -> None:
        number = stored.record.number
        measurements.store(tx, number, stored.model, totals)
        self._models.add(tx, totals, stored.model, number, self._clock())
        if totals.within_clip is not None:
            clip = clip_of(stored.record.terms.layout) / 1e6
            self._set(tx, "clip_micro", round(next_clip(clip, totals.within_clip / totals.count) * 1e6))

    def _sample(self, tx: Connection) -> Sequence[bytes]:
        size = self._task.policy.cohort_size
        members = sorted(self._members(tx))
        return secrets.SystemRandom().sample(members, min(size, len(members))) if size else ()

    def _clip_micro(self, tx: Connection) -> int:
        row = tx.execute(select(tables.settings.c.value).where(tables.settings.c.key == "clip_micro")).first()
        return int(row.value) if row else round(FIRST_CLIP * 1e6)

    def _set(self, tx: Connection, key: str, value: int) -> None:
        if tx.execute(update(tables.settings).where(tables.settings.c.key == key).values(value=b"%d" % value)).rowcount:
            return
        tx.execute(insert(tables.settings).values(key=key, value=b"%d" % value))

    def _set_asked(self, tx: Connection, stored: Stored, order: Order) -> None:
        where = tables.rounds.c.number == stored.record.number
        tx.execute(update(tables.rounds).where(where).values(asked=order.value))

    def _latest_or_conflict(self, tx: Connection) -> Stored:
        stored = self.latest(tx)
        if stored is None:
            raise Conflict("There is no round.", slug="no-round")
        return stored

    def _save(self, tx: Connection, step: Step, **values: Any) -> None:
        columns = _columns(step.record) | values
        if step.record.state in ENDED:
            columns.setdefault("ended_at", self._clock())
        tx.execute(update(tables.rounds).where(tables.rounds.c.number == step.record.number).values(**columns))
        self._log.append(tx, step.entries)


def _columns(record: Record) -> dict[str, Any]:
    return {"mh": record.mh or None, "state": record.state, "record": record.encode()}


def _stored(row: Any) -> Stored:
    return Stored(
        record=Record.decode(row.record, limit=1 << 26),
        model=row.model,
        asked=Order(row.asked),
        participants=row.participants,
        reason=row.reason,
        opened_at=row.opened_at,
        ended_at=row.ended_at,
    )


def opened_at(record: Record) -> int:
    """When the round's window began, on the aggregator's clock."""
    return Manifest.decode(record.signed_manifest.payload).opened_at
