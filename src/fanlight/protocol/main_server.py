"""The main server's round, without input or output.

Theory of operation. Main proposes the manifest, judges the aggregator's list and takes its own masks off the one sum
that the aggregator releases (one of each shard, if it has asked for shards); it learns that and nothing else of any
device. It opens all seeds at the verdict (a seed that does not open is a rejected report) and again at the release, and
destroys its round key at the outcome. A second, different close or release is refused; a repeated one gets the same
bytes.

Every function takes the stored record and returns the new one with the reply and the log entries; the caller stores
all of them in one transaction before it sends the reply. Checks come first; nothing is changed when one fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fanlight.core.segments import layout_words
from fanlight.errors import Conflict, FanlightError, NotAuthentic, Refused
from fanlight.protocol import signing
from fanlight.protocol.closing import (
    CLOSE,
    CLOSE_LIMIT,
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    SHARD_LEFT_OUT,
    VERDICT,
    Close,
    InclusionProof,
    LeftOut,
    Listed,
    Outcome,
    OutcomeForDevice,
    Rejection,
    Release,
    Result,
    ShardOutcome,
    SignedOutcome,
    Verdict,
    read_releases,
    signed_releases,
    stored_close,
    stored_verdict,
)
from fanlight.protocol.identities import Trust
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import TABLE, TERMINAL, Event, Record, State, Step
from fanlight.protocol.manifest import (
    COHORT,
    MANIFEST_AGGREGATOR,
    Cohort,
    Proposal,
    check_added,
    complete,
    manifest_hash,
    manifest_terms,
)
from fanlight.protocol.merkle import Entry, inclusion_proofs, set_root
from fanlight.protocol.report import RECEIPT, REPORT, Receipt, ReportHeader, report_id, sealed_hash
from fanlight.protocol.sealing import MASK_MAIN, open_seed
from fanlight.protocol.shards import Shard
from fanlight.protocol.unmasking import Check, Unmasked, check_releases, shards_released, unmask

Unfit = Callable[[Sequence[bytes]], str | None]
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
        entries = [LogEntry("proposal", payload)]
        if proposal.shards is not None:
            entries.append(LogEntry(COHORT, Cohort(devices=record.cohort).encode()))
        return Step(record, payload, tuple(entries))

    def open(self, record: Record, countersigned: bytes) -> Step:
        """The aggregator has signed; sign too. Reply = the manifest with both signatures.

        Raises:
            NotAuthentic: not the aggregator's signature.
            Refused: it signed other terms than we proposed, our round key as its own, or shards without a draw.
            Conflict: it had signed another manifest for this round.
        """
        payload = signing.verify_bytes(self.trust.aggregator_key, MANIFEST_AGGREGATOR, countersigned)
        manifest = manifest_terms(payload)
        if manifest.proposal.encode() != record.proposal:
            raise Refused("The aggregator signed other terms than were proposed.", slug="substituted-manifest")
        check_added(manifest)
        mh = manifest_hash(payload)
        if record.mh == mh:  # our answer was lost: the same one again, in every state
            return Step(record, record.manifest)
        state = TABLE.next(record.at, Event.OPEN)
        if record.manifest:
            raise Conflict("The aggregator has signed another manifest for this round.", slug="second-manifest")
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
        unfit: Unfit | None = None,
    ) -> Step:
        """Judge the aggregator's close; reply = signed verdict.

        Args:
            record: the open round.
            data: the signed close.
            members: current public key by device, of those enrolled at both servers.
            beacons: report id by device, from receipts.
            round_key: main's X25519 key of this round; None if it has been lost (then the round is abandoned).
            log_head: a head of our log, the latest when the judging began.
            unfit: why the sum over some devices must not be known (a slug), though there are enough; None if it may.

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
        if reason == "ok" and unfit is not None:
            reason = unfit(accepted) or reason
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
        self,
        record: Record,
        data: bytes,
        vector: NDArray[np.uint32],
        round_key: X25519PrivateKey | None,
        check: Check | None = None,
    ) -> Step:
        """Unmask the sum, or that of each shard; reply = our signed outcome; totals if anything may be used.

        Args:
            record: a judged round.
            data: the signed release, or ``Releases``.
            vector: Y as it was sent, (w,) uint32, of all shards one after the other; unmasked in place unless it is
                packed. Empty if the aggregator has lost it (then the round fails).
            round_key: main's X25519 key of this round; None if it has been lost (then the round fails).
            check: what else may make the round fail.

        Raises:
            NotAuthentic, Refused: not the aggregator's release of what was accepted, or not the bytes it signed.
            Conflict: a different release was taken before.
        """
        if record.release:
            if record.release != data:
                raise Conflict("A different release of this round was taken before.", slug="second-release")
            return Step(record, record.signed_outcome)
        signed = signed_releases(data)
        releases = [Release.decode(signing.verify_bytes(self.trust.aggregator_key, RELEASE, one)) for one in signed]
        TABLE.next(record.at, Event.RELEASE)  # before the vector is unmasked: a refusal must leave it as it came
        accepted = self.accepted(record)
        shards = shards_released(record, releases, accepted)
        vectors = check_releases(record, releases, shards, accepted, vector)
        found = unmask(record, shards, accepted, vectors, round_key, check)
        state = TABLE.next(record.at, Event.FAIL if found.totals is None else Event.RELEASE)
        ended = _outcome(record, releases, accepted, found).encode()
        reply = signing.sign(self.private, OUTCOME_MAIN, ended).encode()
        record = record.with_(state=state.value, release=data, signed_outcome=reply)
        entries = [LogEntry("release", one) for one in signed]
        entries += _left_out(record, shards, found)
        return Step(record, reply, (*entries, LogEntry("outcome", reply)), found.totals, found.flaws)

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

    def shards(self, record: Record) -> tuple[Shard, ...]:
        """The sets that were summed, by number: one if the round has no shards; none before the release."""
        if not record.release:
            return ()
        return shards_released(record, read_releases(record.release), self.accepted(record))

    def proofs(self, record: Record) -> dict[bytes, InclusionProof]:
        """The inclusion proof of every accepted device; none unless the round was summed and both have signed."""
        if not record.outcome or SignedOutcome.decode(record.outcome).main_signature is None:
            return {}
        report_ids = {listed.device: report_id(listed.header) for listed in self.accepted(record)}
        return {
            device: InclusionProof(size=len(shard.devices), index=index, path=path, shard=shard.number or None)
            for shard in self.shards(record)
            for device, (index, path) in inclusion_proofs(
                [Entry(device, report_ids[device]) for device in shard.devices]
            ).items()
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


def _outcome(record: Record, releases: Sequence[Release], accepted: Sequence[Listed], found: Unmasked) -> Outcome:
    result = Result.FAILED if found.totals is None else Result.RELEASED
    outcome = Outcome(mh=record.mh, result=result.value, reason=found.reason, set_root=releases[0].set_root)
    if record.terms.shards is None:
        return outcome
    told = tuple(
        ShardOutcome(number=release.shard, count=release.count, set_root=release.set_root, reason=reason)
        for release, reason in zip(releases, found.reasons, strict=True)
    )
    entries = [Entry(listed.device, report_id(listed.header)) for listed in accepted]
    return outcome.with_(set_root=set_root(record.mh, entries), shards=told)


def _left_out(record: Record, shards: Sequence[Shard], found: Unmasked) -> list[LogEntry]:
    if record.terms.shards is None:
        return []
    return [
        LogEntry(
            SHARD_LEFT_OUT, LeftOut(mh=record.mh, shard=shard.number, reason=reason, devices=shard.devices).encode()
        )
        for shard, reason in zip(shards, found.reasons, strict=True)
        if reason != "ok"
    ]


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
