"""One round as one log tells it: what was said, by whom, and whether each word fits the ones before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fanlight.errors import FanlightError
from fanlight.protocol import signing
from fanlight.protocol.audit.findings import Flaw, Flawed
from fanlight.protocol.audit.members import Members
from fanlight.protocol.audit.parts import FIRST_OF_AGGREGATOR, NEEDS, ORDER, SPEAKER, Part, Said
from fanlight.protocol.audit.sums import Sums
from fanlight.protocol.closing import Close, LeftOut, Listed, Outcome, Rejection, Release, Result, Verdict
from fanlight.protocol.identities import Role
from fanlight.protocol.manifest import Manifest, Proposal, cohort_hash
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.report import REPORT, ReportHeader, report_id
from fanlight.protocol.shards import WHOLE


@dataclass
class RoundFacts:
    """A round in one log; see ``Part`` for what fills it.

    Attributes:
        role: whose log.
        terms: main's proposal.
        is_whole: nothing was missing or altered in the log so far, so what is not here was never here.
        asks_again: the latest round before it that was released for the same plan and model; 0 if there is none.
        said: where each part stands; a release under the number of its shard, anything else under 0.
        cohort: the devices that shards are drawn of, in main's log.
        sums: what was released, once there are terms.
    """

    role: Role
    terms: Proposal
    is_whole: bool = True
    asks_again: int = 0
    said: dict[Part, dict[int, Said]] = field(default_factory=dict)
    cohort: tuple[bytes, ...] = ()
    manifest: Manifest | None = None
    mh: bytes = b""
    close: Close | None = None
    verdict: Verdict | None = None
    sums: Sums | None = None
    ended: Outcome | None = None
    outcome: Outcome | None = None
    by_both: bool = False

    @property
    def number(self) -> int:
        """Of the round."""
        return self.terms.round

    @property
    def furthest(self) -> Part:
        """The last part that was said."""
        return max(self.said, key=ORDER.index)

    @property
    def is_over(self) -> bool:
        """Has it ended, as far as its server knows?"""
        return self.outcome is not None

    @property
    def result(self) -> str:
        """How it ended, by main's word or by both servers'; empty if it has not."""
        return "" if self.ended is None else self.ended.result

    @property
    def is_abandoned(self) -> bool:
        """Was it given up?"""
        return self.outcome is not None and self.outcome.result == Result.ABANDONED

    def word(self, part: Part) -> Said | None:
        """Where a part that is no shard's stands."""
        return self.said.get(part, {}).get(WHOLE)

    @property
    def releases(self) -> list[Release]:
        """What was released, by number of the shard."""
        return self.sums.in_order if self.sums else []

    def say(self, part: Part, entry: int, payload: bytes, shard: int = WHOLE) -> None:
        """Note that ``part`` was said.

        Raises:
            Flawed: it had been said before, or something is missing before it.
        """
        digest, speaker, said = hashlib.sha256(payload).digest(), SPEAKER[part], self.said.setdefault(part, {})
        before = said.get(shard)
        if before is not None and before.digest != digest:
            flaw = Flaw.SECOND_RELEASE if part is Part.RELEASE else Flaw.TWO_WORDS
            raise Flawed(flaw, f"Entry {entry} is a second, different {part} of round {self.number}.", speaker)
        if before is not None:
            raise Flawed(Flaw.AGAINST_RULES, f"Entry {entry} repeats the {part} of round {self.number}.")
        said[shard] = Said(entry, digest)
        needed = NEEDS.get(part)
        if self.is_whole and needed and needed not in self.said and (needed, self.role) != FIRST_OF_AGGREGATOR:
            raise Flawed(Flaw.AGAINST_RULES, f"Round {self.number} has a {part} (entry {entry}), but no {needed}.")

    # ---- what each part must be -------------------------------------------------------------------------------

    def is_drawn_of(self, devices: Sequence[bytes]) -> bool:
        """Are these the devices that shards of this round, just proposed, are to be drawn of?"""
        wanted = self.terms.shards is not None and self.furthest is Part.PROPOSAL and not self.cohort
        return wanted and cohort_hash(devices) == self.terms.cohort

    def take_manifest(self, manifest: Manifest, mh: bytes, main_signature: bytes) -> None:
        """The terms, signed; ``main_signature`` is empty in the aggregator's log."""
        self.manifest, self.mh = manifest, mh
        self.sums = Sums(manifest, mh, self.cohort, main_signature)
        if manifest.proposal != self.terms:
            raise Flawed(Flaw.AGAINST_RULES, f"Round {self.number} was opened with other terms than were proposed.")
        if self.is_whole and self.role is Role.MAIN and self.terms.shards is not None and not self.cohort:
            raise Flawed(Flaw.AGAINST_RULES, f"The log does not name the devices that round {self.number} is drawn of.")

    def take_close(self, close: Close) -> None:
        """The list of reports."""
        self.close = close
        devices = [listed.device for listed in close.reports]
        if devices != sorted(set(devices)):
            raise Flawed(Flaw.WRONG_SET, f"The list of round {self.number} names a device twice.", Role.AGGREGATOR)

    def take_verdict(self, verdict: Verdict, members: Members, heard: int) -> None:
        """Main's answer to the list.

        Args:
            verdict: the answer.
            members: who is one, and who was, as far as this log goes.
            heard: the last entry that its server had heard for sure when it said whose reports there are; 0 if none is.
        """
        self.verdict = verdict
        if self.close is None:
            return
        listed = {report.device: report for report in self.close.reports}
        accepted, rejected = set(verdict.accepted), {rejection.device for rejection in verdict.rejected}
        if not verdict.proceed:
            return
        if len(accepted) != len(verdict.accepted) or accepted - listed.keys() or accepted & rejected:
            raise self._wrong_set(Role.MAIN, "accepts reports that were not listed, or were rejected")
        if self.cohort and accepted - set(self.cohort):
            raise self._wrong_set(Role.MAIN, "accepts reports of devices that it was not for")
        if not self.terms.k_min <= len(accepted) <= self.terms.n_max:
            limits = f"{self.terms.k_min} to {self.terms.n_max}"
            raise self._wrong_set(Role.MAIN, f"accepts {len(accepted)} reports; the terms say {limits}")
        if len(rejected) * 100 > self.terms.r_max_percent * (len(accepted) + len(rejected)):
            raise self._wrong_set(Role.MAIN, f"rejects more reports than the {self.terms.r_max_percent} % allowed")
        for device in verdict.accepted if self.is_whole else ():
            self._check_report(listed[device], members.keys(device))
            self._check_member(device, members, heard)

    def take_release(self, release: Release) -> None:
        """The one sum that leaves the aggregator, or that of a shard."""
        assert self.sums is not None
        if flaw := self.sums.take(release):
            raise self._wrong_set(Role.AGGREGATOR, flaw)
        if self.verdict is None or self.close is None:
            return
        if not self.verdict.proceed:
            raise self._wrong_set(Role.AGGREGATOR, "releases what the main server's verdict said to give up")
        if flaw := self.sums.check_set(release, self.accepted):
            raise self._wrong_set(Role.AGGREGATOR, flaw)

    def take_left_out(self, note: LeftOut) -> None:
        """Main leaves a shard out, and names its devices."""
        assert self.sums is not None
        self.sums.left_out[note.shard] = note.reason
        if flaw := self.sums.check_left_out(note.shard, note.devices):
            raise Flawed(Flaw.AGAINST_RULES, f"Round {self.number} {flaw}.")

    def take_result(self, outcome: Outcome) -> None:
        """How main says it ended."""
        self.ended = outcome
        if outcome.result not in (Result.RELEASED, Result.FAILED):
            raise Flawed(Flaw.AGAINST_RULES, f"Round {self.number} has a sum, and cannot be {outcome.result}.")
        is_told = sum(release.count for release in self.releases) == len(self.accepted)
        if self.sums is None or not (self.is_whole or is_told):
            return
        if flaw := self.sums.check_outcome(outcome, self.accepted):
            raise self._wrong_set(Role.MAIN, flaw)
        left_out = {shard.number: shard.reason for shard in outcome.shards or () if shard.reason != "ok"}
        if self.is_whole and self.role is Role.MAIN and left_out != self.sums.left_out:
            message = f"The log does not name the devices of the shards that round {self.number} leaves out."
            raise Flawed(Flaw.AGAINST_RULES, message)

    def take_outcome(self, outcome: Outcome, *, by_both: bool) -> None:
        """How it ended; signed ``by_both``, or an abandonment by the aggregator alone."""
        self.ended = self.outcome = outcome
        self.by_both = by_both
        result = self.word(Part.RESULT)
        if result is not None and result.digest != self.said[Part.OUTCOME][WHOLE].digest:
            message = f"The main server signed an outcome of round {self.number}, and then the log holds another."
            raise Flawed(Flaw.TWO_WORDS, message, Role.AGGREGATOR if self.is_abandoned else Role.MAIN)
        if self.is_abandoned:
            if self.releases:
                message = f"The aggregator gave round {self.number} up after it had released its sum."
                raise Flawed(Flaw.TWO_WORDS, message, Role.AGGREGATOR)
            if outcome.set_root != set_root(self.mh, []):
                raise self._wrong_set(Role.AGGREGATOR, "is given up, and names a set all the same")
            return
        if self.is_whole and not self.releases:
            message = f"Round {self.number} is {outcome.result}, but the log holds no release."
            raise Flawed(Flaw.AGAINST_RULES, message)
        if not by_both:
            raise Flawed(Flaw.NOT_SIGNED, f"The outcome of round {self.number} lacks the main server's signature.")
        self.take_result(outcome)

    @property
    def accepted(self) -> list[Entry]:
        """The reports that were summed, sorted by device."""
        if self.verdict is None or self.close is None:
            return []
        chosen = set(self.verdict.accepted)
        return [
            Entry(report.device, report_id(report.header)) for report in self.close.reports if report.device in chosen
        ]

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        """The reports that were left out, each with a reason."""
        return () if self.verdict is None else self.verdict.rejected

    def _check_report(self, listed: Listed, keys: list[bytes]) -> None:
        device = listed.device.hex()
        if not keys:
            raise self._wrong_set(Role.MAIN, f"counts device {device}, which has not enrolled in this log")
        header: ReportHeader | None = None
        for key in reversed(keys):
            try:
                header = ReportHeader.decode(signing.verify_bytes(key, REPORT, listed.header))
                break
            except FanlightError:
                continue
        if header is None:
            raise self._wrong_set(Role.MAIN, f"counts a report of device {device} that this device has not signed")
        if (header.mh, header.device) != (self.mh, listed.device):
            raise self._wrong_set(Role.MAIN, f"counts a report of device {device} that was made for something else")

    def _check_member(self, device: bytes, members: Members, heard: int) -> None:
        """Who leaves while the round is open still counts if main had its receipt by then, which no log says."""
        opened = self.word(Part.MANIFEST)
        if opened and (how := members.gone(device, revoked_by=heard, left_by=min(heard, opened.entry))):
            raise self._wrong_set(self.role, f"counts device {device.hex()}, which {how}")

    def _wrong_set(self, against: Role, what: str) -> Flawed:
        return Flawed(Flaw.WRONG_SET, f"Round {self.number} {what}.", against)
