"""The main server's round, without input or output.

Theory of operation. Main proposes the manifest, judges the aggregator's list and takes its own masks off the one sum
that the aggregator releases; it learns the sum and nothing else of any device. It opens all seeds at the verdict (a
seed that does not open is a rejected report) and again at the release, and destroys its round key at the outcome. A
second, different close or release is refused; a repeated one gets the same bytes.

Every function takes the stored record and returns the new one with the reply and the log entries; the caller stores
all of them in one transaction before it sends the reply. Checks come first; nothing is changed when one fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import subtract_mask
from fanlight.core.packing import padding_is_zero, unpack
from fanlight.core.segments import layout_words
from fanlight.errors import Conflict, FanlightError, NotAuthentic, Refused
from fanlight.protocol import signing
from fanlight.protocol.closing import (
    CLOSE,
    CLOSE_LIMIT,
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    SHARD,
    VERDICT,
    Close,
    InclusionProof,
    Listed,
    Outcome,
    OutcomeForDevice,
    Rejection,
    Release,
    Result,
    SignedOutcome,
    Verdict,
    stored_close,
    stored_verdict,
)
from fanlight.protocol.contribution import Totals, centre, check_sum, read_totals
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.identities import Trust
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import TABLE, TERMINAL, Event, Record, State, Step
from fanlight.protocol.manifest import (
    MANIFEST_AGGREGATOR,
    Manifest,
    Proposal,
    complete,
    manifest_hash,
)
from fanlight.protocol.merkle import Entry, inclusion_proofs, set_root
from fanlight.protocol.report import RECEIPT, REPORT, Receipt, ReportHeader, report_id, sealed_hash
from fanlight.protocol.sealing import MASK_MAIN, mask_key, open_seed

SUM_LOST: Final = "sum-lost"
"""Why a round fails whose sum the aggregator has signed and then lost. It is spent: nothing else is ever released."""

UNLISTED: Final = "receipted-but-unlisted"
REPLACED: Final = "not-the-receipted-report"
NOT_AS_RECEIPTED: Final = frozenset({UNLISTED, REPLACED})
"""Why a report is rejected that the aggregator gave a receipt for, and then left out of its list or replaced in it."""


@dataclass(frozen=True)
class MainServer:
    """Main's identity and whom it trusts."""

    private: Ed25519PrivateKey
    trust: Trust

    def propose(self, previous: Record | None, proposal: Proposal, cohort: Sequence[bytes]) -> Step:
        """Begin a round; reply = the proposal's bytes.

        Raises:
            Conflict: the previous round is not over, or its number is not one less.
        """
        if previous is not None and previous.at not in TERMINAL:
            raise Conflict(f"Round {previous.number} is not over yet.", slug="round-not-over")
        if proposal.round != (previous.number if previous else 0) + 1:
            raise Conflict(f"Round {proposal.round} is not the next round.", slug="round-spent")
        payload = proposal.encode()
        record = Record(
            state=State.PROPOSED.value,
            number=proposal.round,
            attempt=proposal.attempt,
            kind=proposal.kind,
            proposal=payload,
            cohort=tuple(sorted(cohort)),
        )
        return Step(record, payload, (LogEntry("proposal", payload),))

    def open(self, record: Record, countersigned: bytes) -> Step:
        """The aggregator has signed; sign too. Reply = the manifest with both signatures.

        Raises:
            NotAuthentic: not the aggregator's signature.
            Refused: it signed other terms than we proposed.
            Conflict: it had signed another manifest for this round.
        """
        payload = signing.verify_bytes(self.trust.aggregator_key, MANIFEST_AGGREGATOR, countersigned)
        manifest = Manifest.decode(payload)
        if manifest.proposal.encode() != record.proposal:
            raise Refused("The aggregator signed other terms than were proposed.", slug="substituted-manifest")
        state = TABLE.next(record.at, Event.OPEN)
        mh = manifest_hash(payload)
        if record.manifest:
            if record.mh != mh:
                raise Conflict("The aggregator has signed another manifest for this round.", slug="second-manifest")
            return Step(record, record.manifest)
        signed = complete(self.private, countersigned).encode()
        record = record.with_(state=state.value, mh=mh, manifest=signed)
        return Step(record, signed, (LogEntry("manifest", signed),))

    def take_beacon(self, record: Record, device: bytes, data: bytes) -> Receipt:
        """A device's beacon: the aggregator's signed receipt. Returns it, verified.

        Raises:
            NotAuthentic: not the aggregator's, or for another round or device.
        """
        receipt = Receipt.decode(signing.verify_bytes(self.trust.aggregator_key, RECEIPT, data))
        if (receipt.mh, receipt.device) != (record.mh, device):
            raise NotAuthentic("The receipt is for another round or device.", slug="foreign-receipt")
        TABLE.next(record.at, Event.BEACON)
        return receipt

    def judge(
        self,
        record: Record,
        data: bytes,
        members: Mapping[bytes, bytes],
        beacons: Mapping[bytes, bytes],
        round_key: X25519PrivateKey | None,
        log_head: bytes,
    ) -> Step:
        """Judge the aggregator's close; reply = signed verdict.

        Args:
            record: the open round.
            data: the signed close.
            members: current public key by device, of those enrolled at both servers.
            beacons: report id by device, from receipts.
            round_key: main's X25519 key of this round; None if it has been lost (then the round is abandoned).
            log_head: a head of our log, the latest when the judging began.

        Raises:
            NotAuthentic, MalformedMessage: not the aggregator's close of this round.
            Conflict: a different close was judged before.
        """
        if record.close:
            if record.close != data:
                raise Conflict("A different close of this round was judged before.", slug="second-close")
            return Step(record, record.verdict)
        payload = signing.verify_bytes(self.trust.aggregator_key, CLOSE, data, limit=CLOSE_LIMIT)
        close = Close.decode(payload, limit=CLOSE_LIMIT)
        devices = [listed.device for listed in close.reports]
        if close.mh != record.mh or devices != sorted(set(devices)):
            raise Refused("The close is for another round, or lists a device twice.", slug="foreign-close")
        reasons = {listed.device: self._flaw(record, listed, members, beacons, round_key) for listed in close.reports}
        unlisted = [device for device in beacons if device not in reasons]
        accepted = tuple(device for device, reason in reasons.items() if reason is None)
        rejected = tuple(Rejection(device=device, reason=reason) for device, reason in reasons.items() if reason)
        rejected += tuple(Rejection(device=device, reason=UNLISTED) for device in sorted(unlisted))
        reason = _verdict_reason(record.terms, len(accepted), len(rejected), key_lost=round_key is None)
        state = TABLE.next(record.at, Event.ACCEPT if reason == "ok" else Event.DISMISS)
        verdict = Verdict(
            mh=record.mh,
            accepted=accepted if reason == "ok" else (),
            rejected=rejected,
            proceed=reason == "ok",
            reason=reason,
            log_head=log_head,
        )
        signed = signing.sign(self.private, VERDICT, verdict.encode()).encode()
        record = record.with_(state=state.value, close=data, verdict=signed)
        return Step(record, signed, (LogEntry("close", data), LogEntry("verdict", signed)))

    def _flaw(
        self,
        record: Record,
        listed: Listed,
        members: Mapping[bytes, bytes],
        beacons: Mapping[bytes, bytes],
        round_key: X25519PrivateKey | None,
    ) -> str | None:
        """Why a listed report is rejected (a slug), or None."""
        public_key = members.get(listed.device)
        if public_key is None:
            return "not-a-member"
        if record.cohort and listed.device not in record.cohort:
            return "not-invited"
        if beacons.get(listed.device, report_id(listed.header)) != report_id(listed.header):
            return REPLACED
        try:
            header = ReportHeader.decode(signing.verify_bytes(public_key, REPORT, listed.header))
            reason = _header_flaw(record, listed, header)
            if reason is None and round_key is not None:
                open_seed(listed.sealed_main, round_key, MASK_MAIN, record.mh, listed.device)
        except FanlightError as error:
            return error.slug
        return reason

    def take_release(
        self, record: Record, data: bytes, vector: NDArray[np.uint32], round_key: X25519PrivateKey | None
    ) -> Step:
        """Unmask the sum; reply = our signed outcome (released or failed); totals if it may be used.

        Args:
            record: a judged round.
            data: the signed release.
            vector: Y as it was sent, (w,) uint32; unmasked in place unless it is packed. Empty if the aggregator has
                lost it (then the round fails).
            round_key: main's X25519 key of this round; None if it has been lost (then the round fails).

        Raises:
            NotAuthentic, Refused: not the aggregator's release of what was accepted, or not the bytes it signed.
            Conflict: a different release was taken before.
        """
        if record.release:
            if record.release != data:
                raise Conflict("A different release of this round was taken before.", slug="second-release")
            return Step(record, record.signed_outcome)
        release = Release.decode(signing.verify_bytes(self.trust.aggregator_key, RELEASE, data))
        TABLE.next(record.at, Event.RELEASE)  # before the vector is unmasked: a refusal must leave it as it came
        accepted = self.accepted(record)
        self._check_release(record, release, accepted, vector)
        reason, totals = self._unmask(record, accepted, vector, round_key)
        state = TABLE.next(record.at, Event.RELEASE if reason == "ok" else Event.FAIL)
        result = Result.RELEASED if reason == "ok" else Result.FAILED
        outcome = Outcome(mh=record.mh, result=result.value, reason=reason, set_root=release.set_root).encode()
        signed = signing.sign(self.private, OUTCOME_MAIN, outcome).encode()
        record = record.with_(state=state.value, release=data, signed_outcome=signed)
        return Step(record, signed, (LogEntry("release", data), LogEntry("outcome", signed)), totals)

    def _check_release(
        self, record: Record, release: Release, accepted: Sequence[Listed], vector: NDArray[np.uint32]
    ) -> None:
        if (release.mh, release.shard) != (record.mh, SHARD):
            raise Refused("The release is for another round.", slug="foreign-release")
        length = layout_words(record.terms.layout)
        if release.length != length or vector.shape not in ((0,), (length,)):
            raise Refused(f"The sum has {vector.size} words, the round {length}.", slug="wrong-length")
        entries = [Entry(listed.device, report_id(listed.header)) for listed in accepted]
        if release.count != len(entries) or release.set_root != set_root(record.mh, entries):
            raise Refused("The release sums another set than was accepted.", slug="other-set")
        if vector.size and release.sum_hash != vector_digest([ring.to_bytes(vector)]):
            raise Refused("The sum is not the one that was signed.", slug="swapped-sum")
        if vector.size and not padding_is_zero(vector, record.terms.layout):
            raise Refused("The sum says something behind its last number.", slug="padding-set")

    def _unmask(
        self,
        record: Record,
        accepted: Sequence[Listed],
        vector: NDArray[np.uint32],
        round_key: X25519PrivateKey | None,
    ) -> tuple[str, Totals | None]:
        if vector.size == 0:
            return SUM_LOST, None
        if round_key is None:
            return "round-key-lost", None
        layout = record.terms.layout
        vector = unpack(vector, layout)
        for listed in accepted:
            seed = open_seed(listed.sealed_main, round_key, MASK_MAIN, record.mh, listed.device)
            subtract_mask(vector, mask_key(seed, MASK_MAIN, record.mh, listed.device))
        total = centre(layout, vector)
        reason = check_sum(layout, total, len(accepted))
        if reason is not None:
            return reason, None
        return "ok", read_totals(layout, total, len(accepted))

    def countersigned(self, record: Record, data: bytes) -> Step:
        """The aggregator's signature on our outcome.

        Raises:
            NotAuthentic: not its signature, or not our outcome.
            NotPossibleNow: there is no outcome of ours yet.
        """
        state = TABLE.next(record.at, Event.COUNTERSIGN)
        both = SignedOutcome.decode(data)
        ours = signing.Signed.decode(record.signed_outcome)
        if both.payload != ours.payload or both.main_signature != ours.signature:
            raise NotAuthentic("The aggregator signed another outcome.", slug="foreign-outcome")
        self._check_aggregator(both)
        if record.outcome:
            return Step(record, b"")
        return Step(record.with_(state=state.value, outcome=data), b"", (LogEntry("outcome", data),))

    def publish(self, record: Record) -> Step:
        """The new version is out: the round is complete."""
        return Step(record.with_(state=TABLE.next(record.at, Event.PUBLISH).value), b"")

    def abandoned(self, record: Record, data: bytes) -> Step:
        """The aggregator's signed outcome "abandoned".

        Raises:
            NotAuthentic, Refused: not its signature, not this round, or not abandoned.
            Conflict: it has signed a different abandonment before.
        """
        outcome = SignedOutcome.decode(data)
        self._check_aggregator(outcome)
        content = Outcome.decode(outcome.payload)
        if content.mh != record.mh or content.result != Result.ABANDONED:
            raise Refused("This is not the abandonment of this round.", slug="foreign-outcome")
        state = TABLE.next(record.at, Event.ABANDON)
        if record.outcome:
            if record.outcome != data:
                raise Conflict("The aggregator has signed a different abandonment before.", slug="second-outcome")
            return Step(record, b"")
        return Step(record.with_(state=state.value, outcome=data), b"", (LogEntry("outcome", data),))

    def _check_aggregator(self, outcome: SignedOutcome) -> None:
        key = self.trust.aggregator_key
        signature = signing.Signed(outcome.payload, signing.key_id(key), outcome.aggregator_signature)
        signing.verify(key, OUTCOME_AGGREGATOR, signature)

    @staticmethod
    def verdict(record: Record) -> Verdict | None:
        """Our verdict; None before it."""
        if not record.verdict:
            return None
        return stored_verdict(record.verdict)

    def accepted(self, record: Record) -> tuple[Listed, ...]:
        """The accepted reports, sorted by device; empty before the verdict."""
        verdict = self.verdict(record)
        if verdict is None:
            return ()
        close = stored_close(record.close)
        chosen = set(verdict.accepted)
        return tuple(listed for listed in close.reports if listed.device in chosen)

    def proofs(self, record: Record) -> dict[bytes, InclusionProof]:
        """The inclusion proof of every accepted device; none unless the round was summed and both have signed."""
        if not record.outcome or SignedOutcome.decode(record.outcome).main_signature is None:
            return {}
        entries = [Entry(listed.device, report_id(listed.header)) for listed in self.accepted(record)]
        return {
            device: InclusionProof(size=len(entries), index=index, path=path)
            for device, (index, path) in inclusion_proofs(entries).items()
        }

    def outcome_for(
        self, record: Record, device: bytes, proofs: Mapping[bytes, InclusionProof] | None = None
    ) -> OutcomeForDevice | None:
        """What a device is told about a round that is over; None while it is not, or a signature is missing.

        Args:
            record: the round.
            device: who asks.
            proofs: what ``proofs`` gave, if the caller keeps it: every device of the round asks.
        """
        if not record.outcome:
            return None
        known = self.proofs(record) if proofs is None else proofs
        return OutcomeForDevice(outcome=SignedOutcome.decode(record.outcome), proof=known.get(device))

    def is_listed(self, record: Record, device: bytes, report: bytes) -> bool:
        """Was this report in the close? True while there is no close: it may still be listed."""
        if not record.close:
            return True
        close = stored_close(record.close)
        return any((listed.device, report_id(listed.header)) == (device, report) for listed in close.reports)


def _header_flaw(record: Record, listed: Listed, header: ReportHeader) -> str | None:
    if (header.mh, header.device) != (record.mh, listed.device):
        return "foreign-report"
    if header.main_hash != sealed_hash(listed.sealed_main):
        return "swapped-seed"
    if header.length != layout_words(record.terms.layout):
        return "wrong-length"
    return None


def _verdict_reason(terms: Proposal, accepted: int, rejected: int, *, key_lost: bool) -> str:
    if key_lost:
        return "round-key-lost"
    if rejected * 100 > terms.r_max_percent * (accepted + rejected):
        return "too-many-rejected"
    if accepted < terms.k_min:
        return "too-few-reports"
    if accepted > terms.n_max:
        return "too-many-reports"
    return "ok"
