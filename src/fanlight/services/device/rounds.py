"""Steps 2 and 3 and what follows them: announce, check the manifest, build and keep the report, deliver it, end it.

A report is built once: stored before its first byte is sent, and sent again from the stored bytes until both servers
have acknowledged it or the round is over.  Nothing here waits or repeats by itself; ``agent`` and the jobs do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import structlog
from structlog.typing import FilteringBoundLogger

from fanlight.core.quantise import share_within
from fanlight.core.randomness import Keystream
from fanlight.errors import Conflict, FanlightError, NotAuthentic, NotFound, NotPossibleNow, Refused
from fanlight.protocol.contribution import W_MAX, Contribution, clip_of
from fanlight.protocol.device import NOTHING_CHANGED, needs_training
from fanlight.protocol.device_round import PREPARATION, Delivery, PreparationEvent, Record, answer_key
from fanlight.protocol.exchange import Change
from fanlight.protocol.manifest import Manifest, SignedManifest, read_manifest
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import Envelope, body_bytes
from fanlight.services.device.changing import Said, say
from fanlight.services.device.client import AggregatorClient, MainClient
from fanlight.services.device.identity import Identity
from fanlight.services.device.learned import Held, Learned, Prepared, StoredCounts
from fanlight.services.device.learner import Learner
from fanlight.services.device.offers import Offers
from fanlight.services.device.own_model import Answering
from fanlight.services.device.preparing import Use
from fanlight.services.device.store import DeviceStore
from fanlight.services.device.window_time import WindowTime
from fanlight.services.device.wishes import Wishes
from fanlight.services.http.jobs import Progress

log = structlog.get_logger(__name__)

OTHER_MODEL: Final = "other-model"
EQUIVOCATION: Final = "equivocation"
UNDELIVERED: Final = frozenset({Delivery.COMMITTED, Delivery.RECEIPTED})
"""A server has not acknowledged the report."""


@dataclass(frozen=True)
class Opening:
    """A manifest that this device may answer: as signed, as read, the plan of its kind, and the model it is for."""

    signed: SignedManifest
    manifest: Manifest
    plan: Plan
    held: Held

    @property
    def trains(self) -> bool:
        """Is it a training round?"""
        return needs_training(self.plan.kind)


@dataclass(frozen=True)
class Rounds:
    """One device's part in rounds.

    Attributes:
        identity, store, offers, learner: this device's.
        main, aggregator: the servers.
        wishes: what the owner allows.
        clock: unix seconds. randomness: that many bytes from the operating system's generator.
    """

    identity: Identity
    store: DeviceStore
    offers: Offers
    learner: Learner
    main: MainClient
    aggregator: AggregatorClient
    wishes: Wishes
    clock: Callable[[], float]
    randomness: Callable[[int], bytes]
    _delivering: threading.Lock = field(default_factory=threading.Lock)

    @property
    def log(self) -> FilteringBoundLogger:
        """Its lines say which device this is: those of many may be read in one place."""
        bound: FilteringBoundLogger = log.bind(device=self.identity.device.device.hex())
        return bound

    def announce(self) -> None:
        """Step 2: tell main that this device has trained.

        Raises:
            NotPossibleNow: it has not. RemoteError: main does not take it.
        """
        PREPARATION.next(self.offers.preparation, PreparationEvent.ANNOUNCE)
        held, prepared = self.held(), self.prepared()
        now = int(self.clock() + self.main.remote.auth.clock_offset_s)
        message = self.identity.device.announce(held.plan, held.sha256, now)
        self.main.announce(message)
        self.store.announced(prepared)

    def opening(self) -> Opening:
        """The open round, if this device may answer it.

        Raises:
            NotPossibleNow: none is open (``no-manifest``).
            Refused, NotAuthentic: paused, below the owner's floors, answered before, or not what it should be.
        """
        self.wishes.check()
        if self.store.evidence.unacknowledged:
            raise Refused(
                "The servers have signed two different outcomes of one round; this device answers no more.",
                slug=EQUIVOCATION,
                next="Both are kept. Ask the operator; to go on all the same, press the button on the page Overview.",
            )
        offer, signed, held = self.offers.current, self.offers.manifest, self.held()
        if offer is None or signed is None:
            raise NotPossibleNow(
                "No round is open for this device.", slug="no-manifest", next="Wait until the main server opens one."
            )
        device = self.identity.device
        proposal = read_manifest(device.trust, signed).proposal
        kind = Kind(proposal.kind)
        if kind.teaches and kind != held.plan.kind:
            raise Refused("The round teaches in another way than this device has learned.", slug=OTHER_MODEL)
        if self.wishes.kept.forget and kind is not Kind.CHANGES:
            raise Refused(
                "This device waits to be forgotten, and learns no more.",
                slug="to-be-forgotten",
                next="It leaves as soon as a round with company has taken its pictures out; see the page Privacy.",
            )
        if proposal.collection is not None:
            self.store.account.counted_in(proposal.collection)
        plan = held.plan.of_kind(kind)
        key = answer_key(proposal.plan, proposal.attempt, proposal.model)
        history = self.store.history(key, int(self.clock()))  # a server's time could stretch the owner's limit a day
        manifest = device.check_manifest(
            signed, plan, held.sha256, offer.invitation, self.wishes.floors, history, self._window_time()
        )
        if kind.teaches:
            self.learner.check_can_train(plan)
        return Opening(signed, manifest, plan, held)

    @cached_property
    def _window_time(self) -> WindowTime:
        return WindowTime(self.aggregator, self.clock)

    def settle_time(self) -> None:
        """Ask the aggregator for the time, if the open round would be refused for its window; see ``WindowTime``.

        Raises:
            RemoteError: it does not answer.
        """
        if self.offers.manifest is not None:
            self._window_time.settle(self.offers.manifest)

    def examine(self) -> Opening:
        """As ``opening``; a refusal is kept for the owner to read."""
        try:
            return self.opening()
        except (Refused, NotAuthentic) as error:
            signed = self.offers.manifest
            if signed is not None and error.slug != OTHER_MODEL:  # the manifest of a model that is about to come
                self.store.refusals.keep(signed.hash, error, int(self.clock()))
            raise

    def commit_training(self, opening: Opening, event: PreparationEvent = PreparationEvent.SEND) -> Record:
        """Build and keep the report of a training round; nothing is sent yet.

        Args:
            opening: the round.
            event: what uses the preparation up, ``SEND`` or ``ANSWER``.

        Raises:
            NotPossibleNow: not trained, by hand not announced, or another round than a training round.
        """
        PREPARATION.next(self.offers.preparation, event)
        prepared = self.prepared()
        if Kind(opening.plan.kind).sums:
            return self._commit_sums(opening, prepared, event)
        beside = self.store.memories.to_send(prepared.head)
        update = beside.get("update")
        if update is None:
            update = self.learner.update(opening.held, prepared)
        contribution = Contribution(
            examples=prepared.examples,
            update=update,
            received=prepared.received.measured,
            local=prepared.local.measured,
            supporters=np.array(prepared.supporters, np.bool_),
            control=beside.get("control"),
            steps=float(beside["steps"][0]) if "steps" in beside else None,
        )
        # Only algorithms that leave something beside the model ask how much of the update there was room for.
        share = share_within(update, clip_of(opening.manifest.proposal.layout) / 1e6) if beside else 1.0
        return self._commit(opening, contribution, _learned(opening, prepared), Use(prepared, event, share))

    def _commit_sums(self, opening: Opening, prepared: Prepared, event: PreparationEvent) -> Record:
        said = self._sums_said(opening, prepared)
        try:
            return self._commit(opening, said.contribution, _learned(opening, prepared), Use(prepared, event), said)
        except NotPossibleNow as error:
            if error.slug == NOTHING_CHANGED and prepared.pictures:
                self.store.account.nothing_changed(prepared.pictures)
            raise

    def commit_taking_out(self, opening: Opening) -> Record:
        """Build and keep the report that takes back what is counted of this device; nothing is sent yet."""
        classes = len(opening.plan.classes)
        learned = Learned(
            received=opening.held.measured or StoredCounts.none(classes),
            model_version=opening.held.version,
            model_bytes=opening.held.file_bytes,
        )
        said = self._sums_said(opening, None)
        return self._commit(opening, said.contribution, learned, None, said)

    def _sums_said(self, opening: Opening, prepared: Prepared | None) -> Said:
        proposal, classes = opening.manifest.proposal, len(opening.plan.classes)
        return say(self.store, proposal, opening.signed.hash, prepared, classes)

    def change(self) -> Change | None:
        """What this device would change in main's sums, as far as its pictures were looked at; see ``Account.change``.

        The offer says which sums there are.
        """
        offer, seen = self.offers.current, self.learner.pictures.overview
        pictures = seen.learned_from if seen is not None and seen.error is None else None
        collection = offer.collection if offer else None
        return self.store.account.change(collection, pictures, leaves=self.wishes.kept.forget)

    def commit_measuring(self, opening: Opening, progress: Progress) -> Record:
        """Measure, build and keep the report of a measuring round; nothing is sent yet."""
        learned = self.learner.measure(opening.held, progress)
        classes = len(opening.plan.classes)
        contribution = Contribution(
            examples=0,
            update=None,
            received=learned.received.measured,
            local=(learned.local or StoredCounts.none(classes)).measured,
            supporters=np.zeros(classes, np.bool_),
        )
        return self._commit(opening, contribution, learned)

    def deliver(self, mh: bytes) -> Record:
        """Send a kept report once: to the aggregator, and its receipt to main; what is acknowledged is kept.

        Raises:
            NotFound: there is no such report. RemoteError: a server does not take it (now).
        """
        with self._delivering:
            record = self._record(mh)
            if record.at not in UNDELIVERED:
                return record
            record = self._receipted(record)
            try:
                self.main.beacon(mh, record.receipt)
                record = self.identity.device.confirm(record)
            finally:
                self.store.progress(record)
            return record

    def _receipted(self, record: Record) -> Record:
        """With the aggregator's receipt. It is kept with what follows: who asks again gets the same one."""
        if record.at == Delivery.RECEIPTED:
            return record
        device, envelope = self.identity.device, Envelope.decode(record.envelope)
        with self.store.open_y(record.mh) as y:
            receipt = self.aggregator.upload(record.mh, device.device, envelope, y, record.length, record.chunks)
        self._say("report delivered", record)
        return device.take_receipt(record, receipt)

    def end(self, mh: bytes) -> bool:
        """Ask what became of a round; False while it is not over.

        Raises:
            NotAuthentic: the outcome does not verify. RemoteError: main does not answer.
        """
        try:
            outcome = self.main.outcome_of(mh, self.offers.current)
        except NotFound:
            return False
        with self._delivering:
            record = self._record(mh)
            if record.at != Delivery.ENDED:
                end = self.identity.device.end(record, outcome)
                self.store.finish(end, int(self.clock()))
                self._say("round ended", record, result=end.result.value, reason=end.reason, included=end.was_included)
        return True

    def ask_again(self) -> None:
        """Ask once more, now that a later round is offered, what became of rounds that were called abandoned.

        Raises:
            RemoteError: main does not answer.
        """
        signed = self.offers.manifest
        if signed is None:
            return
        number = signed.terms.proposal.round
        for record in self.store.evidence.abandoned_before(number):
            second = self._other_outcome(record)
            self.store.evidence.asked_again(record, second, int(self.clock()))
            if second is not None:
                self.log.error("two outcomes of one round are signed", round=record.number, mh=record.mh.hex()[:12])

    def _other_outcome(self, record: Record) -> bytes | None:
        try:
            answer = self.main.outcome(record.mh)
        except NotFound:
            return None
        try:
            self.identity.device.end(record, answer)
        except Conflict:
            return answer.outcome.encode()
        except NotAuthentic:  # nothing that anybody could be held to
            return None
        return None

    def most_pictures(self) -> int:
        """How many pictures of a part the open round lets count in sums, or any round."""
        signed = self.offers.manifest
        layout = signed.terms.proposal.layout if signed else ()
        return next((segment.hi for segment in layout if segment.kind == "examples"), W_MAX)

    def undelivered(self) -> list[Record]:
        """Reports that a server has not acknowledged."""
        return [record for record in self.store.unfinished() if record.at in UNDELIVERED]

    def awaited_end(self) -> bytes | None:
        """The round whose end is awaited, the newest if there are several."""
        newest = max(self.store.unfinished(), key=lambda record: record.number, default=None)
        return newest.mh if newest else None

    def possibly_over(self) -> list[Record]:
        """Reports whose round is no longer offered: it may be over."""
        signed = self.offers.manifest
        return [record for record in self.store.unfinished() if signed is None or record.mh != signed.hash]

    def in_question(self) -> list[Record]:
        """Those of ``possibly_over`` whose end decides what may be sent now.

        A report that is not delivered, and one for the plan, attempt and model of the open round: these are answered
        again only after a round that was abandoned. And one that the device will remember, or main count, if it counts.
        """
        over, signed = self.possibly_over(), self.offers.manifest
        asked = signed.terms.proposal if over and signed else None
        key = answer_key(asked.plan, asked.attempt, asked.model) if asked else None
        remembered = self.store.memories.in_question() if over else frozenset()
        if (counting := self.store.account.in_question) is not None:
            remembered |= {counting.mh}
        return [
            record for record in over if record.at in UNDELIVERED or record.answer_key == key or record.mh in remembered
        ]

    def held(self) -> Held:
        """The current global model.

        Raises:
            NotPossibleNow: this device has none yet.
        """
        held = self.store.held
        if held is None:
            raise NotPossibleNow(
                "This device has no model from the main server yet.",
                slug="no-model-yet",
                next="Start the main server and wait until the device has reached it.",
            )
        return held

    def answering(self) -> Answering:
        """What answers here: the home's own model, or the global one; errors as in ``held`` and ``own_model``."""
        return self.learner.answering(self.held())

    def prepared(self) -> Prepared:
        """The preparation for the current model.

        Raises:
            NotPossibleNow: there is none.
        """
        prepared = self.offers.prepared
        if prepared is None:
            raise NotPossibleNow(
                "This device has not trained on the current model.",
                slug="not-trained",
                next="Train locally first (/modeltrain).",
            )
        return prepared

    def _commit(
        self,
        opening: Opening,
        contribution: Contribution,
        learned: Learned,
        use: Use | None = None,
        said: Said | None = None,
    ) -> Record:
        now = int(self.clock())
        stream = Keystream(self.randomness(32))
        with self.identity.lock:
            if self.store.key_change is not None:
                raise NotPossibleNow(
                    "This device is changing its key.", slug="key-change", next="Wait until both servers have taken it."
                )
            record, y = self.identity.device.commit(opening.signed, opening.manifest, contribution, stream, now)
            self.store.commit(record, y, learned, use, said.asked if said else None)
        self._say("report committed", record, kind=record.kind, bytes=body_bytes(record.envelope, record.length))
        return record

    def _say(self, what: str, record: Record, **facts: object) -> None:
        self.log.info(what, round=record.number, mh=record.mh.hex()[:12], **facts)

    def _record(self, mh: bytes) -> Record:
        record = self.store.report(mh)
        if record is None:
            raise NotFound("There is no report for this round.")
        return record


def _learned(opening: Opening, prepared: Prepared) -> Learned:
    return Learned(
        received=prepared.received,
        local=prepared.local,
        examples=prepared.examples,
        epochs=prepared.epochs,
        model_version=prepared.model_version,
        model_bytes=opening.held.file_bytes,
    )


def as_not_possible(error: FanlightError) -> NotPossibleNow:
    """A refused manifest as the reason why step 3 cannot be performed."""
    advice = error.next or "Wait for the next round; if it happens again, ask the operator."
    return NotPossibleNow(error.message, slug=error.slug, next=advice)
