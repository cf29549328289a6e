"""The secure aggregator's round, without input or output.

Theory of operation. The aggregator sees who reported, and vectors that look uniformly random. It signs one manifest
per (task, round), and only when the task's previous round is over. It answers a report with a receipt only after the
report is durable and before the close. It may abandon only before ``released``; once the release is signed and stored
there is exactly one, or one of each shard, for ever, and every repetition gets the same bytes.

Every function takes the stored record and returns the new one with the reply and the log entries; the caller stores
all of them in one transaction before it sends the reply. Checks come first; nothing is changed when one fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.errors import Conflict, NotAuthentic, NotPossibleNow, Refused
from fanlight.protocol import signing
from fanlight.protocol.aggregator_round import TABLE, TERMINAL, Event, Held, Record, State, Step
from fanlight.protocol.closing import (
    CLOSE,
    CLOSE_LIMIT,
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    VERDICT,
    Close,
    Listed,
    Outcome,
    Release,
    Result,
    SignedOutcome,
    Verdict,
    read_releases,
    stored_close,
    stored_verdict,
    whole_release,
)
from fanlight.protocol.identities import Trust
from fanlight.protocol.log import LogEntry
from fanlight.protocol.manifest import (
    MANIFEST_MAIN,
    Manifest,
    Proposal,
    SignedManifest,
    check_proposal,
    cohort_hash,
    countersign,
    manifest_hash,
)
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.report import RECEIPT, REPORT, Envelope, Receipt, ReportHeader, report_id, sealed_hash
from fanlight.protocol.sealing import MASK_AGGREGATOR, open_seed
from fanlight.protocol.shards import Shard, commitment, divide


@dataclass(frozen=True)
class Aggregator:
    """The aggregator's identity and whom it trusts."""

    private: Ed25519PrivateKey
    trust: Trust

    def offer(
        self,
        previous: Record | None,
        proposal: Proposal,
        cohort: Sequence[bytes],
        round_key: bytes,
        secret: bytes,
        now: int,
    ) -> Step:
        """Countersign main's proposal with our fresh round key; reply = signed manifest ("manifest-agg").

        Args:
            previous: the task's latest round here, if any.
            proposal: main's part of the manifest.
            cohort: the sampled devices; empty if all members are meant.
            round_key: our X25519 round key, 32 raw bytes.
            secret: 32 fresh random bytes, to draw shards with.
            now: unix seconds on our clock.

        Raises:
            Refused: limits that cannot protect; a cohort that is not the one hashed in the proposal; an attempt that is
                neither the previous round's nor the next one.
            Conflict: a manifest for this or a later round was signed before, or the previous round is not over.
        """
        if previous is not None and previous.number == proposal.round and previous.terms.proposal == proposal:
            return Step(previous, previous.countersigned)
        check_proposal(proposal, self.trust.fid)
        if bool(proposal.cohort) != bool(cohort) or (cohort and proposal.cohort != cohort_hash(cohort)):
            raise Refused("The cohort is not the one named in the manifest.", slug="bad-cohort")
        if proposal.shards is not None and len(set(cohort)) < proposal.shards * proposal.k_min:
            raise Refused("The cohort is too small for so many shards.", slug="bad-cohort")
        if previous is not None and previous.at not in TERMINAL:
            raise Conflict(f"Round {previous.number} is not over yet.", slug="round-not-over")
        if previous is not None and proposal.round <= previous.number:
            raise Conflict(f"Round {proposal.round} has been offered before.", slug="round-spent")
        if previous is not None and proposal.attempt not in (previous.attempt, previous.attempt + 1):
            raise Refused(f"Attempt {proposal.attempt} does not follow {previous.attempt}.", slug="bad-attempt")
        draw = commitment(secret) if proposal.shards is not None else None
        manifest = Manifest(proposal=proposal, aggregator_key=round_key, opened_at=now, draw=draw)
        payload, signed = manifest.encode(), countersign(self.private, manifest)
        record = Record(
            state=State.OFFERED.value,
            number=proposal.round,
            attempt=proposal.attempt,
            mh=manifest_hash(payload),
            manifest=payload,
            countersigned=signed,
            cohort=tuple(sorted(set(cohort))),
            secret=secret if draw else b"",
        )
        return Step(record, signed, (LogEntry("manifest", signed),))

    def open(self, record: Record, signed: SignedManifest) -> Step:
        """Main has signed too: collect reports.

        Raises:
            NotAuthentic: other bytes than ours, or not main's signature.
            Conflict: it is another signature of main's than before, from which other shards would follow.
        """
        if signed.payload != record.manifest:
            raise NotAuthentic("Main signed another manifest than ours.", slug="substituted-manifest")
        main = self.trust.main_key
        signature = signing.Signed(signed.payload, signing.key_id(main), signed.main_signature)
        signing.verify(main, MANIFEST_MAIN, signature)
        state = TABLE.next(record.at, Event.OPEN)
        if record.main_signature not in (b"", signed.main_signature):
            raise Conflict("Main has signed the manifest in another way before.", slug="second-manifest")
        return Step(record.with_(state=state.value, main_signature=signed.main_signature), b"")

    def check_report(
        self, record: Record, envelope: Envelope, public_key: bytes, round_key: X25519PrivateKey, now: int
    ) -> ReportHeader:
        """Everything that can be checked before y arrives; return the verified header.

        Args:
            record: the open round.
            envelope: what came.
            public_key: the sending member's current key. The signature proves who signed; that the header names this
                very member (``header.device``) is for the caller to compare, who knows whose key this is.
            round_key: our private key of the round. Our seed is opened here already: once the set is agreed, one seed
                that does not open would keep the whole sum from being released.
            now: unix seconds on our clock.

        Raises:
            NotAuthentic, Refused: see the messages.
            NotPossibleNow: the round does not take reports (any more).
        """
        header = ReportHeader.decode(signing.verify_bytes(public_key, REPORT, envelope.header))
        device = header.device.hex()
        if header.mh != record.mh:
            raise Refused("The report is for another round.", slug="foreign-report", device=device)
        TABLE.next(record.at, Event.REPORT)
        terms = record.terms
        if now >= terms.closes_at:
            raise NotPossibleNow("The round's window has passed.", slug="report-late", next="Wait for the next round.")
        if terms.proposal.cohort and header.device not in record.cohort:
            raise Refused("The device is not in this round's cohort.", slug="not-invited", device=device)
        if header.length != terms.length:
            raise Refused(
                f"The report has {header.length} words, the round {terms.length}.", slug="wrong-length", device=device
            )
        hashes = (sealed_hash(envelope.sealed_main), sealed_hash(envelope.sealed_aggregator))
        if hashes != (header.main_hash, header.aggregator_hash):
            raise Refused("A sealed seed is not the one that was signed.", slug="swapped-seed", device=device)
        open_seed(envelope.sealed_aggregator, round_key, MASK_AGGREGATOR, record.mh, header.device)
        return header

    def take_report(
        self, record: Record, held: Held | None, count: int, envelope: Envelope, header: ReportHeader, now: int
    ) -> Step:
        """Decide on a checked report whose y has arrived with the signed hash; reply = signed receipt.

        Args:
            record: the open round.
            held: what we hold of this device already, if anything.
            count: how many reports we hold.
            envelope, header: as checked by ``check_report``.
            now: unix seconds on our clock.

        Raises:
            Conflict: we hold a different report of this device.
            Refused: the round is full.
        """
        state = TABLE.next(record.at, Event.REPORT)
        if held is not None and held.envelope.report_id != envelope.report_id:
            raise Conflict("This device has sent a different report in this round.", slug="second-report")
        if held is None and count >= record.terms.proposal.n_max:
            raise Refused("The round is full.", slug="round-full")
        receipt = Receipt(mh=record.mh, device=header.device, report_id=envelope.report_id, time=now)
        signed = signing.sign(self.private, RECEIPT, receipt.encode()).encode()
        return Step(record.with_(state=state.value), signed)

    def close(self, record: Record, reports: Sequence[Held], log_head: bytes) -> Step:
        """Fix the set; reply = signed close for main.

        Raises:
            NotPossibleNow: fewer than k_min reports, or the round is not collecting.
        """
        state = TABLE.next(record.at, Event.CLOSE)
        if record.close:
            return Step(record, record.close)
        needed = record.terms.proposal.k_min
        if len(reports) < needed:
            raise NotPossibleNow(
                f"Round {record.number} holds {len(reports)} of the {needed} reports it needs.",
                slug="too-few-reports",
                next="Let more devices send their models (device page /sendmodel), then aggregate again.",
            )
        listed = tuple(
            Listed(device=held.device, header=held.envelope.header, sealed_main=held.envelope.sealed_main)
            for held in sorted(reports, key=lambda held: held.device)
        )
        close = Close(mh=record.mh, reports=listed, log_head=log_head)
        signed = signing.sign(self.private, CLOSE, close.encode()).encode()
        return Step(record.with_(state=state.value, close=signed), signed, (LogEntry("close", signed),))

    def take_verdict(self, record: Record, data: bytes, reports: Sequence[Held]) -> Step:
        """Main's verdict: agree to sum, or abandon (then the reply is our signed outcome).

        Raises:
            NotAuthentic, Refused: not main's, not about this close, or a set outside the manifest's limits.
            Conflict: main has sent a different verdict before.
        """
        verdict = Verdict.decode(
            signing.verify_bytes(self.trust.main_key, VERDICT, data, limit=CLOSE_LIMIT), limit=CLOSE_LIMIT
        )
        if record.verdict and record.verdict != data:
            raise Conflict("Main has sent a different verdict before.", slug="second-verdict")
        if verdict.mh != record.mh:
            raise Refused("The verdict is for another round.", slug="foreign-verdict")
        if record.verdict:
            TABLE.next(record.at, Event.AGREE if verdict.proceed else Event.ABANDON)
            return Step(record, record.outcome)
        if not verdict.proceed:
            step = self.abandon(record, verdict.reason)
            return Step(step.record.with_(verdict=data), step.reply, (LogEntry("verdict", data), *step.entries))
        self._check_set(record, verdict, reports)
        state = TABLE.next(record.at, Event.AGREE)
        return Step(record.with_(state=state.value, verdict=data), b"", (LogEntry("verdict", data),))

    def _check_set(self, record: Record, verdict: Verdict, reports: Sequence[Held]) -> None:
        listed = {held.device for held in reports}
        accepted, rejected = set(verdict.accepted), {rejection.device for rejection in verdict.rejected}
        proposal = record.terms.proposal
        if len(accepted) != len(verdict.accepted) or not accepted <= listed or accepted & rejected:
            raise Refused("The verdict accepts reports that were not listed.", slug="bad-verdict")
        if not proposal.k_min <= len(accepted) <= proposal.n_max:
            raise Refused("The verdict accepts too few or too many reports.", slug="bad-verdict")
        if (len(listed) - len(accepted)) * 100 > proposal.r_max_percent * len(listed):
            raise Refused("The verdict rejects more reports than the manifest allows.", slug="bad-verdict")

    def accepted(self, record: Record, reports: Sequence[Held]) -> tuple[Held, ...]:
        """The reports to be summed, sorted by device."""
        verdict = stored_verdict(record.verdict)
        chosen = set(verdict.accepted)
        return tuple(sorted((held for held in reports if held.device in chosen), key=lambda held: held.device))

    def shards(self, record: Record, accepted: Sequence[Held]) -> tuple[tuple[Held, ...], ...]:
        """The sets of reports that are summed, each for itself, by number; one set if the round has no shards."""
        held = {each.device: each for each in accepted}
        return tuple(tuple(held[device] for device in shard.devices) for shard in self._divide(record, tuple(held)))

    @staticmethod
    def _divide(record: Record, accepted: Sequence[bytes]) -> tuple[Shard, ...]:
        return divide(record.terms.proposal, record.lots, record.cohort, accepted)

    def release(self, record: Record, accepted: Sequence[Held], sum_hashes: Sequence[bytes], log_head: bytes) -> Step:
        """Sign the one release of each shard; the caller stores them with state "released" before anything is sent.

        Args:
            record: an agreed round.
            accepted: the summed reports.
            sum_hashes: vector digest of Y = Σy − Σmask_A of each of the ``shards``.
            log_head: our log's head.
        """
        state = TABLE.next(record.at, Event.RELEASE)
        if record.release:
            return Step(record, record.release)
        report_ids = {held.device: held.envelope.report_id for held in accepted}
        signed = [
            self._sign_release(record, shard, report_ids, sum_hash, log_head)
            for shard, sum_hash in zip(self._divide(record, tuple(report_ids)), sum_hashes, strict=True)
        ]
        release = whole_release(signed, sharded=bool(record.secret))
        entries = tuple(LogEntry("release", one) for one in signed)
        return Step(record.with_(state=state.value, release=release), release, entries)

    def _sign_release(
        self, record: Record, shard: Shard, report_ids: Mapping[bytes, bytes], sum_hash: bytes, log_head: bytes
    ) -> bytes:
        release = Release(
            mh=record.mh,
            shard=shard.number,
            count=len(shard.devices),
            length=record.terms.length,
            sum_hash=sum_hash,
            set_root=set_root(record.mh, [Entry(device, report_ids[device]) for device in shard.devices]),
            log_head=log_head,
            draw=record.secret or None,
        )
        return signing.sign(self.private, RELEASE, release.encode()).encode()

    def finish(self, record: Record, data: bytes) -> Step:
        """Main's signed outcome acknowledges the release; reply = our signature on the same outcome.

        Raises:
            NotAuthentic, Refused: not main's, or not about what we released.
        """
        payload = signing.verify_bytes(self.trust.main_key, OUTCOME_MAIN, data)
        outcome = Outcome.decode(payload)
        state = TABLE.next(record.at, Event.FINISH)
        if outcome.mh != record.mh or not _is_about_release(record, outcome):
            raise Refused("The outcome is not about what we released.", slug="foreign-outcome")
        if outcome.result not in (Result.RELEASED, Result.FAILED):
            raise Refused("A released round cannot be abandoned.", slug="foreign-outcome")
        if record.outcome:
            stored = SignedOutcome.decode(record.outcome)
            if stored.payload != payload:
                raise Conflict("Main has sent a different outcome before.", slug="second-outcome")
            return Step(record, record.outcome)
        both = SignedOutcome(
            payload=payload,
            aggregator_signature=signing.sign(self.private, OUTCOME_AGGREGATOR, payload).signature,
            main_signature=signing.Signed.decode(data).signature,
        ).encode()
        return Step(record.with_(state=state.value, outcome=both), both, (LogEntry("outcome", both),))

    def abandon(self, record: Record, reason: str) -> Step:
        """Give the round up before any release; reply = our signed outcome "abandoned"."""
        state = TABLE.next(record.at, Event.ABANDON)
        if record.outcome:
            return Step(record, record.outcome)
        payload = Outcome(
            mh=record.mh,
            result=Result.ABANDONED.value,
            reason=reason[:64] or "unspecified",
            set_root=set_root(record.mh, []),
        ).encode()
        signature = signing.sign(self.private, OUTCOME_AGGREGATOR, payload).signature
        outcome = SignedOutcome(payload=payload, aggregator_signature=signature).encode()
        return Step(record.with_(state=state.value, outcome=outcome), outcome, (LogEntry("outcome", outcome),))


def _is_about_release(record: Record, outcome: Outcome) -> bool:
    """Does main's outcome name the sets that we released?"""
    if not record.release:
        return False
    releases = read_releases(record.release)
    if not record.secret:
        return outcome.shards is None and outcome.set_root == releases[0].set_root
    released = [(release.shard, release.count, release.set_root) for release in releases]
    told = [(shard.number, shard.count, shard.set_root) for shard in outcome.shards or ()]
    return told == released and outcome.set_root == set_root(record.mh, _summed(record))


def _summed(record: Record) -> list[Entry]:
    accepted = set(stored_verdict(record.verdict).accepted)
    listed = stored_close(record.close).reports
    return [Entry(one.device, report_id(one.header)) for one in listed if one.device in accepted]
