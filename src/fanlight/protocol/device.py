"""The device's side of a round, without input or output.

Theory of operation. A device has two small machines. *Preparation* belongs to a plan and a model: trained, then
announced, then sent; step 3 needs the first two. What was sent is not sent again in another round, whose set of devices
may differ in one (the difference of both sums would be that one's update), unless the round was abandoned. *Report*
belongs to one manifest: committed (built and stored, before the first byte is sent, and only those bytes are ever sent
again), receipted by the aggregator, confirmed by main, ended by an outcome.

A device answers a (plan, attempt, model) once. Only the aggregator's signed word that the round was abandoned, and so
never released, lets it answer again; failure and roll-back raise the attempt. That keeps honest servers from asking the
same twice by mistake. It is no barrier against a main that wants to: a plan or model that differs in one bit is another
question. Only the owner's most answers a day bounds those. Manifests that fall below the owner's floors are refused,
with a reason that the owner can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import add_mask
from fanlight.core.packing import pack
from fanlight.core.randomness import Keystream
from fanlight.errors import Conflict, NotAuthentic, NotPossibleNow, Refused
from fanlight.protocol import signing
from fanlight.protocol.closing import (
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    InclusionProof,
    Outcome,
    OutcomeForDevice,
    Result,
    ShardOutcome,
    SignedOutcome,
)
from fanlight.protocol.contribution import Contribution, encode, is_expected
from fanlight.protocol.device_round import (
    DELIVERY,
    Delivery,
    DeliveryEvent,
    End,
    Floors,
    History,
    Record,
    answer_key,
)
from fanlight.protocol.digests import chunk_hashes, vector_digest_of
from fanlight.protocol.identities import Trust
from fanlight.protocol.manifest import Manifest, Proposal, SignedManifest, check_invitation, read_manifest
from fanlight.protocol.merkle import Entry, included
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import (
    READINESS,
    RECEIPT,
    Envelope,
    Readiness,
    Receipt,
    ReportHeader,
    sealed_hash,
    sign_report,
)
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, seal_seed

NOTHING_CHANGED: Final = "nothing-changed"
"""Why a device does not report in a round of changes."""
NOTHING_TO_LEARN_FROM: Final = "nothing-to-learn-from"
"""The slug of a device without the pictures that a round is about: to train on, or to measure on."""
SUMS_OF_SQUARES: Final = 2
"""So many times the owner's floor must ΣΦᵀΦ be summed over: of fewer pictures than features it shows their span."""
_NO_FLOOR: Final = (
    "If it stands on the page Privacy, you can allow it there. If not, this program does not know it: install the "
    "version of Fanlight that the operator has, or ask for another in the task."
)


def check_floors(manifest: Manifest, plan: Plan, floors: Floors) -> None:
    """Refuse a manifest below the owner's floors.

    Raises:
        Refused: with a slug and a reason that the owner can read.
    """
    proposal = manifest.proposal
    if proposal.demo and not floors.accept_demo:
        raise Refused(
            "This round is marked as a demonstration: with so few devices each can work out the others' updates.",
            slug="demo-refused",
            next="If that is what you want, tick “Take part in demonstrations of two devices” on the page Privacy, or "
            "start the device with --accept-demo.",
        )
    by_squares = Kind(plan.kind).sums and plan.triangle > 0
    floor = 2 if proposal.demo else floors.k_min * (SUMS_OF_SQUARES if by_squares else 1)
    if proposal.k_min < floor and by_squares:
        raise Refused(
            f"This round may sum the statistics of only {proposal.k_min} devices. They say more than updates do, so "
            f"this device's floor for them is {floor}, twice the usual one.",
            slug="below-floor",
            next="If so few are enough for you, lower your floor on the page Privacy; or ask the operator for more.",
        )
    if proposal.k_min < floor:
        raise Refused(
            f"This round may sum only {proposal.k_min} devices; this device's floor is {floor}.",
            slug="below-floor",
            next="If so few are enough for you, lower your floor on the page Privacy; or ask the operator for more.",
        )
    if proposal.r_max_percent > floors.r_max_percent:
        raise Refused(
            f"Main may reject {proposal.r_max_percent} % of this round's reports; this device's floor is "
            f"{floors.r_max_percent} %.",
            slug="may-reject-too-many",
            next="If so many are right for you, raise the share on the page Privacy; or ask the operator for less.",
        )
    if floors.backbones.get(plan.backbone) != plan.backbone_hash:
        raise Refused(
            f"The backbone {plan.backbone} (or its weights) is not allowed here.",
            slug="backbone-refused",
            next=_NO_FLOOR,
        )
    if plan.head not in floors.heads:
        raise Refused(f"The head {plan.head} is not allowed here.", slug="head-refused", next=_NO_FLOOR)


def _check_there_is_something(kind: str, contribution: Contribution) -> None:
    """A report of nothing would be company for others that is none."""
    if kind in (Kind.TRAIN, Kind.STATISTICS) and contribution.examples < 1:
        raise NotPossibleNow(
            "This device has no training pictures.",
            slug=NOTHING_TO_LEARN_FROM,
            next="Add training pictures, or wait for a measuring round.",
        )
    if kind == Kind.MEASURE and contribution.received is not None and not contribution.received.confusion.any():
        raise NotPossibleNow(
            "This device has no held-out pictures to measure the model on.",
            slug=NOTHING_TO_LEARN_FROM,
            next="Add pictures; some of them are held out.",
        )
    if kind == Kind.CHANGES and contribution.changes_nothing:
        raise NotPossibleNow(
            "Nothing has changed on this device since its pictures were counted.",
            slug=NOTHING_CHANGED,
            next="Nothing to do: this round is for devices that have joined, changed or leave.",
        )


@dataclass(frozen=True)
class Device:
    """The device's identity and whom it trusts."""

    private: Ed25519PrivateKey
    device: bytes
    trust: Trust

    def announce(self, plan: Plan, model: bytes, now: int) -> bytes:
        """Build the signed readiness message of step 2."""
        message = Readiness(
            fid=self.trust.fid, device=self.device, task=plan.task, plan=plan.hash, model=model, time=now
        )
        return signing.sign(self.private, READINESS, message.encode()).encode()

    def check_manifest(
        self,
        signed: SignedManifest,
        plan: Plan,
        model: bytes,
        invitation: bytes | None,
        floors: Floors,
        history: History,
        now: int,
    ) -> Manifest:
        """Decide whether to answer a manifest; return it.

        Args:
            signed: the manifest with both signatures.
            plan: the plan that the device holds for it.
            model: SHA-256 of the model file that the device holds.
            invitation: main's signed invitation, for a sampled cohort.
            floors, history: the owner's rules and what was answered before.
            now: unix seconds.

        Raises:
            NotAuthentic, Refused: with a slug and a reason that the owner can read.
        """
        manifest = read_manifest(self.trust, signed)
        proposal = manifest.proposal
        asked = (proposal.task, proposal.plan, proposal.model, proposal.kind)
        if asked != (plan.task, plan.hash, model, plan.kind):
            raise Refused("The manifest is for another plan or model than this device has.", slug="other-model")
        if now >= manifest.closes_at:
            raise Refused(
                f"The window of round {proposal.round} has passed.", slug="window-passed", next="Is the clock right?"
            )
        self._check_invited(signed, manifest, invitation)
        check_floors(manifest, plan, floors)
        _check_layout(proposal, plan)
        key = answer_key(proposal.plan, proposal.attempt, proposal.model)
        if history.answered.get(key, signed.hash) != signed.hash:
            raise Refused("This plan and model have been answered before.", slug="answered-before")
        if history.last_day >= floors.answers_per_day:
            raise Refused(
                f"This device has sent {history.last_day} reports in 24 hours, its limit.",
                slug="answers-per-day",
                next="Wait, or raise “Most reports in 24 hours” on the page Privacy.",
            )
        return manifest

    def _check_invited(self, signed: SignedManifest, manifest: Manifest, invitation: bytes | None) -> None:
        if not manifest.proposal.cohort:
            return
        if invitation is None:
            raise Refused(
                "The main server drew lots for this round, and this device was not drawn.",
                slug="not-invited",
                next="Nothing to do: each round draws anew.",
            )
        check_invitation(self.trust, invitation, signed.hash, self.device)

    def commit(
        self,
        signed: SignedManifest,
        manifest: Manifest,
        contribution: Contribution,
        stream: Keystream,
        now: int,
    ) -> tuple[Record, NDArray[np.uint32]]:
        """Build the report: quantise, mask twice, pack, seal both seeds, sign. Returns the record to store and y.

        Args:
            signed, manifest: as checked by ``check_manifest``.
            contribution: what this device has to say.
            stream: device-private cryptographic generator for rounding and seeds.
            now: unix seconds.

        Raises:
            NotPossibleNow: there is nothing to learn from or to measure on here, or nothing has changed; an empty
                report would only inflate the cohort.
            Refused, ModelError: see ``contribution.encode``; or a round key that cannot keep a secret.
        """
        _check_there_is_something(manifest.proposal.kind, contribution)
        proposal, mh = manifest.proposal, signed.hash
        vector = encode(proposal.layout, contribution, stream)
        sealed = {}
        for label, round_key in ((MASK_MAIN, proposal.main_key), (MASK_AGGREGATOR, manifest.aggregator_key)):
            seed = stream.bytes(32)
            add_mask(vector, mask_key(seed, label, mh, self.device))
            sealed[label] = seal_seed(seed, round_key, label, mh, self.device)
        y = pack(vector, proposal.layout)
        hashes = chunk_hashes(ring.to_bytes(y))
        header = ReportHeader(
            mh=mh,
            device=self.device,
            length=y.size,
            y_hash=vector_digest_of(y.nbytes, hashes),
            main_hash=sealed_hash(sealed[MASK_MAIN]),
            aggregator_hash=sealed_hash(sealed[MASK_AGGREGATOR]),
        )
        envelope = sign_report(self.private, header, sealed[MASK_MAIN], sealed[MASK_AGGREGATOR])
        record = Record(
            delivery=Delivery.COMMITTED.value,
            number=proposal.round,
            kind=proposal.kind,
            mh=mh,
            plan=proposal.plan,
            model=proposal.model,
            attempt=proposal.attempt,
            envelope=envelope.encode(),
            length=y.size,
            committed_at=now,
            chunks=b"".join(hashes),
        )
        return record, y

    def take_receipt(self, record: Record, data: bytes) -> Record:
        """The aggregator's receipt for our report.

        Raises:
            NotAuthentic: not the aggregator's, or for another report.
        """
        receipt = Receipt.decode(signing.verify_bytes(self.trust.aggregator_key, RECEIPT, data))
        expected = (record.mh, self.device, Envelope.decode(record.envelope).report_id)
        if (receipt.mh, receipt.device, receipt.report_id) != expected:
            raise NotAuthentic("The receipt is for another report.", slug="foreign-receipt")
        state = DELIVERY.next(record.at, DeliveryEvent.RECEIPT)
        return record.with_(delivery=state.value, receipt=data)

    def confirm(self, record: Record) -> Record:
        """Main has taken the beacon."""
        return record.with_(delivery=DELIVERY.next(record.at, DeliveryEvent.CONFIRM).value)

    def end(self, record: Record, answer: OutcomeForDevice) -> End:
        """The round is over: verify its outcome, and that our report was summed if main says so.

        Raises:
            NotAuthentic: a signature is missing or wrong, another round, or a proof that does not hold.
            Conflict: another outcome of this round was signed before.
        """
        outcome = self._read_outcome(answer.outcome)
        if outcome.mh != record.mh:
            raise NotAuthentic("The outcome is for another round.", slug="foreign-outcome")
        if record.outcome and SignedOutcome.decode(record.outcome).payload != answer.outcome.payload:
            raise Conflict("The servers have signed two different outcomes of this round.", slug="second-outcome")
        shard = self._check_proof(record, outcome, answer.proof) if answer.proof is not None else None
        left_out = shard.reason if shard is not None and shard.reason != "ok" else ""
        state = DELIVERY.next(record.at, DeliveryEvent.END)
        record = record.with_(delivery=state.value, outcome=answer.outcome.encode())
        was_included = answer.proof is not None and not left_out
        return End(record, Result(outcome.result), outcome.reason, was_included, left_out)

    def _check_proof(self, record: Record, outcome: Outcome, proof: InclusionProof) -> ShardOutcome | None:
        """Our report was summed, in the set that the outcome names; the shard, if there are any."""
        shard = None if proof.shard is None else outcome.shard(proof.shard)
        root = outcome.set_root if shard is None else shard.set_root
        entry = Entry(self.device, Envelope.decode(record.envelope).report_id)
        known = (shard is None) == (proof.shard is None) == (outcome.shards is None)
        known &= outcome.result != Result.ABANDONED  # of which nothing is summed
        if not (known and included(record.mh, root, proof.size, proof.index, proof.path, entry)):
            raise NotAuthentic("The proof that our report was summed does not hold.", slug="bad-inclusion-proof")
        return shard

    def _read_outcome(self, signed: SignedOutcome) -> Outcome:
        """Abandonment needs the aggregator's signature (it alone can abandon); all else needs both."""
        _verify_outcome(self.trust.aggregator_key, OUTCOME_AGGREGATOR, signed.payload, signed.aggregator_signature)
        outcome = Outcome.decode(signed.payload)
        if outcome.result != Result.ABANDONED:
            if signed.main_signature is None:
                raise NotAuthentic("The outcome lacks main's signature.", slug="half-signed-outcome")
            _verify_outcome(self.trust.main_key, OUTCOME_MAIN, signed.payload, signed.main_signature)
        return outcome


def _check_layout(proposal: Proposal, plan: Plan) -> None:
    if is_expected(proposal.layout, plan, proposal.n_max):
        return
    raise Refused("The manifest asks for another vector than the plan implies.", slug="bad-layout")


def _verify_outcome(public_key: bytes, label: str, payload: bytes, signature: bytes) -> None:
    signing.verify(public_key, label, signing.Signed(payload, signing.key_id(public_key), signature))


def needs_training(kind: str) -> bool:
    """Only rounds that teach need steps 1 and 2; measuring rounds can be answered at once."""
    return Kind(kind).teaches
