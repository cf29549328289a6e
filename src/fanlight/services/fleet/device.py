"""One simulated device at live servers: the machine and the client of a deployed one, a diary in place of a database.

``follow`` is one turn: end reports whose rounds are over, fetch the model, send what is not acknowledged, answer the
open round. It is called by one thread at a time, and waits for servers; ``fleet`` says when.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.randomness import Keystream
from fanlight.errors import Conflict, NotFound, NotPossibleNow, Refused
from fanlight.learning.algorithms.algorithm import Memory
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.algorithms.local import Outcome
from fanlight.protocol import identities
from fanlight.protocol.contribution import clip_of
from fanlight.protocol.device import NOTHING_CHANGED, NOTHING_TO_LEARN_FROM, Device
from fanlight.protocol.device_round import Delivery, Floors, Record, answer_key
from fanlight.protocol.exchange import Change, Offer
from fanlight.protocol.manifest import Manifest, SignedManifest, read_manifest
from fanlight.protocol.plan import Kind
from fanlight.protocol.report import Envelope, body_bytes
from fanlight.services.device.client import AggregatorClient, MainClient
from fanlight.services.device.deliveries import may_pass
from fanlight.services.device.window_time import WindowTime
from fanlight.services.device.wishes import PAUSED
from fanlight.services.federation import Token
from fanlight.services.fleet.attendance import Attendance
from fanlight.services.fleet.diary import Diary, Sent
from fanlight.services.fleet.gang import Gang
from fanlight.services.fleet.journal import Journal
from fanlight.services.fleet.lesson import Lesson, Said
from fanlight.services.fleet.lessons import Lessons
from fanlight.services.http.wire import Wire
from fanlight.simulation.memories import Memories
from fanlight.storage.blobs import BlobFolder

_PASSING = frozenset({"not-invited", "window-passed", "other-model", "answered-before"})
"""Why a device does not answer a round that others may; of all else the owner of the fleet has to hear."""
_ADVICE = {
    "demo-refused": "If that is what you want, start it with --accept-demo.",
    "answers-per-day": "Go on tomorrow, or with other devices.",
    "below-floor": "If so few are enough, lower the floor of these devices with --k-min; or ask the operator for more.",
}


_ASK = "Ask the operator to change the task; or work at other servers."


@dataclass(frozen=True)
class Shared:
    """What all devices of a fleet have in common.

    Attributes:
        lessons: what versions have them do.
        journal: sees what becomes of rounds.
        floors: what the fleet's owner allows.
        attendance: who takes part in which round.
        gang: those that cheat.
        memories: what algorithms remember.
        models: where models lie while they arrive.
        is_done: is only measured now, and nothing learned any more?
        clock: unix seconds. monotonic: seconds that only grow. randomness: that many secret bytes.
    """

    lessons: Lessons
    journal: Journal
    floors: Floors
    attendance: Attendance
    gang: Gang
    memories: Memories
    models: BlobFolder
    is_done: Callable[[], bool]
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    randomness: Callable[[int], bytes]


class SimulatedDevice:
    """A member.

    Args:
        number: from 0, among those of the fleet; says what it has.
        token: lets it join, once.
        machine: its part of the protocol.
        main, aggregator: the servers, as it asks them.
        diary: what it keeps.
        shared: see ``Shared``; set before ``follow`` is called.
    """

    def __init__(
        self,
        number: int,
        token: Token,
        machine: Device,
        main: MainClient,
        aggregator: AggregatorClient,
        diary: Diary,
    ) -> None:
        self.number = number
        self.main = main
        self.diary = diary
        self.have: bytes | None = None
        self.shared: Shared
        self.fleet: Sequence[SimulatedDevice] = ()
        self._token = token
        self._machine = machine
        self._aggregator = aggregator
        self._unsent: tuple[Record, NDArray[np.uint32]] | None = None
        self._settled: tuple[bytes, int] | None = None

    def enrol(self) -> None:
        """Join at both servers, unless that was done.

        Raises:
            RemoteError: a server refuses the token, or does not answer.
        """
        if self.diary.enrolled:
            return
        machine, token = self._machine, self._token
        message = identities.enrol(machine.trust.fid, token.certificate, token.private, machine.private)
        for server in (self.main, self._aggregator):
            server.enrol(message, machine.private)
        self.diary.enrol()

    def forgotten(self) -> None:
        """A server does not know it: join again, which changes nothing where it is known."""
        self.diary.enrol(done=False)

    def poll(self, line: Wire, after: int, wait_s: float) -> Offer:
        """What main has for it; see ``MainClient.poll_offer``."""
        return self.main.poll_offer(line, after, wait_s, self.have, next(reversed(self.diary.pending), None))

    def give_sign_of_life(self) -> None:
        """Let main know that it is there, while it has much to do."""
        self.main.offer(self.have)

    def is_at_rest(self, offer: Offer | None) -> bool:
        """Has it nothing to send, and no report whose round may be over?"""
        return self._unsent is None and not self._possibly_over(offer)

    # -- a turn

    def follow(self, offer: Offer) -> None:
        """Do what main's offer asks for.

        Raises:
            NotPossibleNow: the fleet's owner does not allow such rounds, or the task cannot be learned here.
            RemoteError: a server does not answer, or refuses.
            ModelError, StorageError: a training ran away, or the disk.
        """
        self._end(offer)
        lesson = self.fetch(offer)
        self._deliver()
        self._tell_change(offer)
        if offer.manifest is not None:
            self._answer(offer, SignedManifest.decode(offer.manifest), lesson)

    def _possibly_over(self, offer: Offer | None) -> list[bytes]:
        signed = offer.manifest if offer else None
        asked = SignedManifest.decode(signed).hash if signed else None
        return [mh for mh in self.diary.pending if mh != asked]

    def _end(self, offer: Offer) -> None:
        """Ask what became of rounds that are offered no more, and verify it."""
        for mh in self._possibly_over(offer):
            try:
                answer = self.main.outcome_of(mh, offer)
            except NotFound:
                continue
            end = self._machine.end(self.diary.pending[mh].record, answer)
            before = self.diary.memories
            self.diary.end(end)
            for number in before - self.diary.memories:
                self.shared.memories.forget(self.number, number)
            if self._unsent is not None and self._unsent[0].mh == mh:
                self._unsent = None
            self.shared.journal.ended(self.number, end, answer.proof)

    def fetch(self, offer: Offer) -> Lesson:
        """What the offer has everybody do; its model is fetched and verified, if it is another one than before."""
        lesson = self.shared.lessons.find(offer) if self.have == offer.model else None
        if lesson is None:
            lesson = self.shared.lessons.arrived(offer, self.main.model_along(offer) or self._download(offer.model))
            self.shared.journal.fetched(lesson)
            self.have = offer.model
        return lesson

    def _download(self, model: bytes) -> bytes:
        name = f"{self.number}-{model.hex()}"
        with self.shared.models.unfinished(name, 0, 0) as begun:
            file = bytes(self.main.model(model, begun))
        self.shared.models.give_up(name)
        return file

    def _answer(self, offer: Offer, signed: SignedManifest, lesson: Lesson) -> None:
        """Answer the open round, or say in a word why not."""
        settled = signed.hash, offer.version  # a main server that was started anew has forgotten who declined
        if signed.hash in self.diary.pending or settled == self._settled:
            return
        proposal = read_manifest(self._machine.trust, signed).proposal
        if self.shared.is_done() and Kind(proposal.kind).teaches:
            self._decline(signed.hash, PAUSED)
            self._settled = settled
            return
        self.shared.journal.opened(signed.hash, proposal, lesson)
        if self.number not in self.shared.attendance.reporters(proposal.round):
            self._settled = settled
            return
        try:
            manifest = self._checked(offer, signed, lesson)
            if manifest is None:
                return
            self._commit(offer, signed, manifest, lesson)
        except NotPossibleNow as error:
            if error.slug not in (NOTHING_TO_LEARN_FROM, NOTHING_CHANGED):
                raise
            self._decline(signed.hash, error.slug)
        self._settled = settled
        self._deliver()

    def _checked(self, offer: Offer, signed: SignedManifest, lesson: Lesson) -> Manifest | None:
        """The manifest, if it is for this device to answer.

        Raises:
            NotPossibleNow: it is below the floors, or there is nothing to say to it.
        """
        proposal = read_manifest(self._machine.trust, signed).proposal
        kind, now = Kind(proposal.kind), int(self.shared.clock())
        plan, key = lesson.plan.of_kind(kind), answer_key(proposal.plan, proposal.attempt, proposal.model)
        self._window_time.settle(signed)
        try:
            manifest = self._machine.check_manifest(
                signed, plan, lesson.sha256, offer.invitation, self.shared.floors, self.diary.history(key, now),
                self._window_time(),
            )  # fmt: skip
        except Refused as error:
            if error.slug in _PASSING:
                return None
            self._decline(signed.hash, error.slug)
            raise NotPossibleNow(error.message, slug=error.slug, next=_ADVICE.get(error.slug, _ASK)) from error
        if kind.sums and self.diary.waits_for_sums:
            return None
        if kind is Kind.CHANGES and self._change(proposal.collection) is None:
            raise NotPossibleNow("Pictures of simulated devices do not change.", slug=NOTHING_CHANGED)
        if kind.teaches and not self.shared.lessons.population.learns[self.number]:
            raise NotPossibleNow("This device has no pictures to learn from.", slug=NOTHING_TO_LEARN_FROM)
        return manifest

    def _commit(self, offer: Offer, signed: SignedManifest, manifest: Manifest, lesson: Lesson) -> None:
        """Learn, and build the report; it is in the diary before its first byte is sent."""
        shared, proposal, began = self.shared, manifest.proposal, self.shared.monotonic()
        kind = Kind(proposal.kind)
        if kind is Kind.TRAIN:
            said = self._trained(signed.hash, manifest, lesson)
        else:
            said = lesson.said(manifest, self.number)
        if said.memory:
            shared.memories.write(self.number, proposal.round, said.memory)
        now = int(shared.clock())
        record, y = self._machine.commit(signed, manifest, said.contribution, Keystream(shared.randomness(32)), now)
        if kind.teaches and not offer.by_itself:  # by hand: whoever started this program said so
            told = int(now + self.main.remote.auth.clock_offset_s)
            self.main.announce(self._machine.announce(lesson.plan, lesson.sha256, told))
        collection = (proposal.collection or proposal.round) if kind.sums else None
        self.diary.commit(Sent(record, bool(said.memory), collection))
        if self.number not in shared.attendance.breaks_off(proposal.round):
            self._unsent = record, y
        shared.journal.built(
            signed.hash,
            self.number,
            seconds=shared.monotonic() - began,
            clip=clip_of(proposal.layout) / 1e6,
            within_clip=said.within_clip,
        )

    def _trained(self, mh: bytes, manifest: Manifest, lesson: Lesson) -> Said:
        number, gang = manifest.proposal.round, self.shared.gang

        def learn(device: int) -> Outcome:
            return lesson.learn(device, number, self.fleet[device].remembered(lesson.lineage))

        if self.number not in gang.cheats.who:
            return lesson.trained(manifest, self.number, learn(self.number))
        learns = self.shared.lessons.population.learns
        present = [device for device in self.shared.attendance.reporters(number) if learns[device]]
        outcome, update = gang.crafted(mh, number, self.number, present, learn)
        return lesson.trained(manifest, self.number, outcome, update)

    def remembered(self, lineage: Lineage | None) -> Memory:
        """What the algorithm has left here, for a training from a version that comes of these rounds."""
        return self.shared.memories.read(self.number, self.diary.remembered(lineage))

    def _deliver(self) -> None:
        """Send what is not acknowledged; of a round that takes no reports any more, the end will be heard."""
        if self._unsent is None:
            return
        record, y = self._unsent
        try:
            if record.at is Delivery.COMMITTED:
                envelope, data = Envelope.decode(record.envelope), io.BytesIO(ring.to_bytes(y))
                receipt = self._aggregator.upload(
                    record.mh, self._machine.device, envelope, data, record.length, record.chunks
                )
                record = self._machine.take_receipt(record, receipt)
                self._unsent = record, y
            self.main.beacon(record.mh, record.receipt)
        except Conflict as error:
            if may_pass(error):
                raise
        else:
            self.shared.journal.delivered(record.mh, body_bytes(record.envelope, record.length))
        self._unsent = None

    def _tell_change(self, offer: Offer) -> None:
        """Tell main that it would join sums that it is not counted in."""
        change = self._change(offer.collection)
        if offer.collection is not None and change is not None and not self.diary.waits_for_sums:
            self.main.tell_change(offer.collection, change)

    def _change(self, collection: int | None) -> Change | None:
        counted, learns = self.diary.collection, self.shared.lessons.population.learns[self.number]
        joins = collection is not None and learns and (counted is None or counted < collection)
        return Change.JOINS if joins else None

    def _decline(self, mh: bytes, slug: str) -> None:
        try:
            self.main.decline(mh, slug)
        except (NotFound, Conflict):  # the round is over
            return

    @cached_property
    def _window_time(self) -> WindowTime:
        return WindowTime(self._aggregator, self.shared.clock)
