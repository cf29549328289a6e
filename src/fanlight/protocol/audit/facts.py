"""One round as one log tells it: what was said, by whom, and whether each word fits the ones before it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from fanlight.errors import FanlightError
from fanlight.protocol import signing
from fanlight.protocol.audit.findings import Flaw, Flawed
from fanlight.protocol.closing import SHARD, Close, Listed, Outcome, Rejection, Release, Result, Verdict
from fanlight.protocol.identities import Role
from fanlight.protocol.manifest import Manifest, Proposal
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.report import REPORT, ReportHeader, report_id


class Part(StrEnum):
    """What is said in a round, in this order."""

    PROPOSAL = "proposal"
    MANIFEST = "manifest"
    CLOSE = "close"
    VERDICT = "verdict"
    RELEASE = "release"
    RESULT = "result"
    OUTCOME = "outcome"


ORDER: Final = tuple(Part)
_NEEDS: Final = {
    Part.MANIFEST: Part.PROPOSAL,
    Part.CLOSE: Part.MANIFEST,
    Part.VERDICT: Part.CLOSE,
    Part.RELEASE: Part.VERDICT,
    Part.RESULT: Part.RELEASE,
}
SPEAKER: Final = {
    Part.PROPOSAL: Role.MAIN,
    Part.MANIFEST: Role.AGGREGATOR,
    Part.CLOSE: Role.AGGREGATOR,
    Part.VERDICT: Role.MAIN,
    Part.RELEASE: Role.AGGREGATOR,
    Part.RESULT: Role.MAIN,
    Part.OUTCOME: Role.AGGREGATOR,
}
"""Who says it first; the other one keeps it."""


class Said(NamedTuple):
    """Where a word stands in the log, and the SHA-256 of what was signed."""

    entry: int
    digest: bytes


@dataclass
class RoundFacts:
    """A round in one log; see ``Part`` for what fills it.

    Attributes:
        role: whose log.
        terms: main's proposal.
        is_whole: nothing was missing or altered in the log so far, so what is not here was never here.
    """

    role: Role
    terms: Proposal
    is_whole: bool = True
    said: dict[Part, Said] = field(default_factory=dict)
    manifest: Manifest | None = None
    mh: bytes = b""
    close: Close | None = None
    verdict: Verdict | None = None
    release: Release | None = None
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
    def is_abandoned(self) -> bool:
        """Was it given up?"""
        return self.outcome is not None and self.outcome.result == Result.ABANDONED

    def say(self, part: Part, entry: int, payload: bytes) -> None:
        """Note that ``part`` was said.

        Raises:
            Flawed: it had been said before, or something is missing before it.
        """
        digest, before, speaker = hashlib.sha256(payload).digest(), self.said.get(part), SPEAKER[part]
        if before is not None and before.digest != digest:
            flaw = Flaw.SECOND_RELEASE if part is Part.RELEASE else Flaw.TWO_WORDS
            raise Flawed(flaw, f"Entry {entry} is a second, different {part} of round {self.number}.", speaker)
        if before is not None:
            raise Flawed(Flaw.AGAINST_RULES, f"Entry {entry} repeats the {part} of round {self.number}.")
        self.said[part] = Said(entry, digest)
        needed = _NEEDS.get(part)
        if self.is_whole and needed and needed not in self.said and (needed, self.role) != FIRST_OF_AGGREGATOR:
            raise Flawed(Flaw.AGAINST_RULES, f"Round {self.number} has a {part} (entry {entry}), but no {needed}.")

    # ---- what each part must be -------------------------------------------------------------------------------

    def take_close(self, close: Close) -> None:
        """The list of reports."""
        self.close = close
        devices = [listed.device for listed in close.reports]
        if devices != sorted(set(devices)):
            raise Flawed(Flaw.WRONG_SET, f"The list of round {self.number} names a device twice.", Role.AGGREGATOR)

    def take_verdict(self, verdict: Verdict, keys: Callable[[bytes], list[bytes]]) -> None:
        """Main's answer to the list; ``keys`` gives the public keys of a device."""
        self.verdict = verdict
        if self.close is None:
            return
        listed = {report.device: report for report in self.close.reports}
        accepted, rejected = set(verdict.accepted), {rejection.device for rejection in verdict.rejected}
        if not verdict.proceed:
            return
        if len(accepted) != len(verdict.accepted) or accepted - listed.keys() or accepted & rejected:
            raise self._wrong_set(Role.MAIN, "accepts reports that were not listed, or were rejected")
        if not self.terms.k_min <= len(accepted) <= self.terms.n_max:
            limits = f"{self.terms.k_min} to {self.terms.n_max}"
            raise self._wrong_set(Role.MAIN, f"accepts {len(accepted)} reports; the terms say {limits}")
        if len(rejected) * 100 > self.terms.r_max_percent * (len(accepted) + len(rejected)):
            raise self._wrong_set(Role.MAIN, f"rejects more reports than the {self.terms.r_max_percent} % allowed")
        for device in verdict.accepted if self.is_whole else ():
            self._check_report(listed[device], keys(device))

    def take_release(self, release: Release) -> None:
        """The one sum that leaves the aggregator."""
        self.release = release
        if release.shard != SHARD:
            raise self._wrong_set(Role.AGGREGATOR, f"releases shard {release.shard}; the terms know no shards")
        if self.manifest is not None and release.length != self.manifest.length:
            raise self._wrong_set(
                Role.AGGREGATOR, f"releases {release.length} words; the terms say {self.manifest.length}"
            )
        if self.verdict is None or self.close is None:
            return
        if not self.verdict.proceed:
            raise self._wrong_set(Role.AGGREGATOR, "releases what the main server's verdict said to give up")
        accepted = self.accepted
        if release.count != len(accepted) or release.set_root != set_root(self.mh, accepted):
            raise self._wrong_set(Role.AGGREGATOR, "releases the sum of another set than was accepted (Merkle root)")

    def take_result(self, outcome: Outcome) -> None:
        """How main says it ended."""
        if outcome.result not in (Result.RELEASED, Result.FAILED):
            raise Flawed(Flaw.AGAINST_RULES, f"Round {self.number} has a sum, and cannot be {outcome.result}.")
        if self.release is not None and outcome.set_root != self.release.set_root:
            raise self._wrong_set(Role.MAIN, "ends with another set than was released")

    def take_outcome(self, outcome: Outcome, *, by_both: bool) -> None:
        """How it ended; signed ``by_both``, or an abandonment by the aggregator alone."""
        self.outcome, self.by_both = outcome, by_both
        result = self.said.get(Part.RESULT)
        if result is not None and result.digest != self.said[Part.OUTCOME].digest:
            message = f"The main server signed an outcome of round {self.number}, and then the log holds another."
            raise Flawed(Flaw.TWO_WORDS, message, Role.AGGREGATOR if self.is_abandoned else Role.MAIN)
        if self.is_abandoned:
            if self.release is not None:
                message = f"The aggregator gave round {self.number} up after it had released its sum."
                raise Flawed(Flaw.TWO_WORDS, message, Role.AGGREGATOR)
            if outcome.set_root != set_root(self.mh, []):
                raise self._wrong_set(Role.AGGREGATOR, "is given up, and names a set all the same")
            return
        if self.is_whole and self.release is None:
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

    def _wrong_set(self, against: Role, what: str) -> Flawed:
        return Flawed(Flaw.WRONG_SET, f"Round {self.number} {what}.", against)


FIRST_OF_AGGREGATOR: Final = (Part.PROPOSAL, Role.AGGREGATOR)
"""The aggregator's log begins a round with the manifest."""
