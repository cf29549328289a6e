"""One server's log, entry by entry: what can be checked without the other one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Final, TypeAlias

from fanlight.errors import FanlightError, MalformedMessage, NotAuthentic
from fanlight.protocol import signing
from fanlight.protocol.audit import words
from fanlight.protocol.audit.attempts import Attempts
from fanlight.protocol.audit.chain import Chain
from fanlight.protocol.audit.facts import RoundFacts
from fanlight.protocol.audit.findings import NAMES, Finding, Findings, Flaw, Flawed, Untold
from fanlight.protocol.audit.members import Members
from fanlight.protocol.audit.parts import Part
from fanlight.protocol.audit.source import LogSource
from fanlight.protocol.catching_up import RESTORED
from fanlight.protocol.closing import SHARD_LEFT_OUT, LeftOut, Verdict
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.log import ChainedEntry
from fanlight.protocol.manifest import COHORT, Cohort, Proposal, check_proposal, manifest_hash
from fanlight.protocol.report import RECEIPT, Receipt

_ROUNDS_AT_ONCE: Final = 3
"""A round is complete in a log once two later ones have begun: main may propose the next before it has the last
signature on this one."""
_MOST_RECEIPTS: Final = 10_000
_KEPT_AS_THEY_ARE: Final = frozenset(
    {
        "policy",
        "algorithm",
        "augmentation",
        "class-weights",
        "stopped",
        "resumed",
        "collect-anew",
        "take-changes",
        "new-line",
        "quarantined",
        "readmitted",
    }
)
"""Main's own notes: nobody signs them."""
Handler: TypeAlias = "Callable[[OneLog, ChainedEntry], None]"
OTHER: Final = "unknown"
"""How entries of types that this version does not know are counted."""


class OneLog:
    """Reads a log, a few rounds at a time.

    Args:
        source: the log.
        trust: the root and both servers' keys.
        findings: where what is wrong goes.

    Attributes:
        rounds: those that were read and not yet taken away, by number.
        last: number of the latest round.
        members: who has enrolled.
        counts: how many entries of each type.
        receipts: those that main kept as evidence, with their entries.
    """

    def __init__(self, source: LogSource, trust: Trust, findings: Findings) -> None:
        self.source, self.role = source, source.role
        self._trust, self._findings = trust, findings
        self.chain = Chain(trust.fid, source.role.value)
        self.rounds: dict[int, RoundFacts] = {}
        self.last = 0
        self.members = Members(trust)
        self.counts: Counter[str] = Counter()
        self.receipts: list[tuple[int, Receipt]] = []
        self._entries = source.entries()
        self._is_open = True
        self._latest: RoundFacts | None = None
        self._attempts = Attempts(source.role)
        self._restored: set[bytes] = set()

    def fill(self) -> None:
        """Read until the oldest round here is complete, or the log ends."""
        while self._is_open and len(self.rounds) < _ROUNDS_AT_ONCE:
            try:
                entry = next(self._entries)
            except StopIteration:
                self._end()
            except MalformedMessage as error:
                self.chain.is_whole = self._is_open = False
                self.add(Flaw.UNREADABLE, error.message)
            else:
                self.take(entry)

    def take(self, entry: ChainedEntry) -> None:
        """Check one entry."""
        handler = self._HANDLERS.get(entry.type)
        known = handler is not None or entry.type in _KEPT_AS_THEY_ARE
        self.counts[entry.type if known else OTHER] += 1
        try:
            self.chain.follow(entry)
        except Flawed as flawed:
            self.add(flawed.flaw, flawed.message, entry)
            if flawed.flaw is not Flaw.MISSING:
                return  # what was altered, or stands elsewhere, is not what its server said here
        if handler is not None:
            self._check(handler, entry)

    def _check(self, handler: Handler, entry: ChainedEntry) -> None:
        try:
            handler(self, entry)
        except Untold:
            pass
        except Flawed as flawed:
            self.add(flawed.flaw, flawed.message, entry, flawed.against)
        except NotAuthentic as error:
            self.add(Flaw.NOT_SIGNED, f"Entry {entry.number} ({entry.type}): {error.message}", entry)
        except FanlightError as error:
            self.add(Flaw.AGAINST_RULES, f"Entry {entry.number} ({entry.type}): {error.message}", entry)

    def add(self, flaw: Flaw, message: str, entry: ChainedEntry | None = None, against: Role | None = None) -> None:
        """Note what is wrong, in this log."""
        number = entry.number if entry else None
        in_round = self._latest.number if self._latest else None
        self._findings.add(Finding(flaw, self.role, message, against or self.role, number, in_round))

    def _end(self) -> None:
        self._is_open = False
        signed, chain = self.source.signed, self.chain
        if signed is None or (signed.entries, signed.head) == (chain.number, chain.head):
            return
        if chain.number < signed.entries:
            self.chain.is_whole = False
            self.add(Flaw.CUT, f"The file ends with entry {chain.number}; there were {signed.entries}.")
        elif self.chain.is_whole:
            self.add(
                Flaw.REWRITTEN, f"The log ends otherwise than the {NAMES[self.role]} signed when the file was made."
            )

    # ---- rounds ----------------------------------------------------------------------------------------------

    def _begin(self, terms: Proposal) -> RoundFacts:
        number = terms.round
        if number <= self.last:
            raise Flawed(Flaw.AGAINST_RULES, f"Round {number} begins after round {self.last}.")
        unfinished, before = self._latest, self.last
        facts = self.rounds[number] = self._latest = RoundFacts(self.role, terms, self.chain.is_whole)
        self.last = number
        if self.chain.is_whole and number > before + 1:
            gap = f"round {before + 1} is" if number == before + 2 else f"rounds {before + 1} to {number - 1} are"
            self.add(Flaw.GAP, f"The {NAMES[self.role]}'s log begins round {number}, but {gap} not in it.")
        if self.chain.is_whole and unfinished and not (unfinished.is_over or Part.RESULT in unfinished.said):
            self.add(Flaw.AGAINST_RULES, f"Round {number} begins before round {unfinished.number} is over.")
        if unfinished and (flaw := self._attempts.follow(unfinished, facts)):
            self.add(Flaw.AGAINST_RULES, flaw, against=Role.MAIN)
        return facts

    def _round(self, mh: bytes) -> RoundFacts:
        for facts in self.rounds.values():
            if facts.mh == mh:
                facts.is_whole = self.chain.is_whole
                return facts
        if not self.chain.is_whole:
            raise Untold
        raise Flawed(Flaw.AGAINST_RULES, "A word is about a round whose terms are not in this log, or long over.")

    def _proposal(self, entry: ChainedEntry) -> None:
        terms = Proposal.decode(entry.payload)
        check_proposal(terms, self._trust.fid)
        self._begin(terms).say(Part.PROPOSAL, entry.number, entry.payload)

    def _cohort(self, entry: ChainedEntry) -> None:
        devices = Cohort.decode(entry.payload).devices
        if self._latest is not None and self._latest.is_drawn_of(devices):
            self._latest.cohort = devices
        elif self.chain.is_whole:
            raise Flawed(Flaw.AGAINST_RULES, f"Entry {entry.number} names devices that are drawn for no round.")

    def _manifest(self, entry: ChainedEntry) -> None:
        manifest, payload, main_signature = words.manifest(self._trust, self.role, entry.payload)
        terms = manifest.proposal
        facts = self.rounds.get(terms.round)
        if facts is None:
            facts = self._begin(terms)
        facts.say(Part.MANIFEST, entry.number, payload)
        facts.take_manifest(manifest, manifest_hash(payload), main_signature)

    def _close(self, entry: ChainedEntry) -> None:
        close, payload = words.close(self._trust, entry.payload)
        facts = self._round(close.mh)
        facts.say(Part.CLOSE, entry.number, payload)
        if self.role is Role.AGGREGATOR and close.mh not in self._restored:
            self._check_own_head(close.log_head, "close", entry)
        facts.take_close(close)

    def _verdict(self, entry: ChainedEntry) -> None:
        verdict, payload = words.verdict(self._trust, entry.payload)
        facts = self._round(verdict.mh)
        facts.say(Part.VERDICT, entry.number, payload)
        if self.role is Role.MAIN and verdict.mh not in self._restored:
            self._check_own_head(verdict.log_head, "verdict", entry)
        facts.take_verdict(verdict, self.members, self._heard(facts, verdict))

    def _release(self, entry: ChainedEntry) -> None:
        release, payload = words.release(self._trust, entry.payload)
        facts = self._round(release.mh)
        facts.say(Part.RELEASE, entry.number, payload, release.shard)
        if self.role is Role.AGGREGATOR and release.mh not in self._restored:
            # those of all shards are written at once, and name the head before the first
            self._check_own_head(release.log_head, "release", entry, len(facts.said[Part.RELEASE]))
        facts.take_release(release)

    def _taken_over(self, entry: ChainedEntry) -> None:
        """Words that follow of this round name heads of the log that is lost; a proposal of the same number is void."""
        manifest, payload, _ = words.manifest(self._trust, Role.MAIN, entry.payload)
        mh, number = manifest_hash(payload), manifest.proposal.round
        self._restored.add(mh)
        self._attempts.taken_over(number)
        known = self.rounds.get(number)
        if known is not None and known.mh != mh:
            del self.rounds[number]
            self.last, self._latest = number - 1, None
        raise Flawed(Flaw.RESTORED, f"Round {number} was taken over from the other server: the log had been put back.")

    def _left_out(self, entry: ChainedEntry) -> None:
        note = LeftOut.decode(entry.payload)
        self._round(note.mh).take_left_out(note)

    def _outcome(self, entry: ChainedEntry) -> None:
        if self.role is Role.MAIN and words.is_mains_alone(entry.payload):
            result, payload = words.result(self._trust, entry.payload)
            facts = self._round(result.mh)
            facts.say(Part.RESULT, entry.number, payload)
            facts.take_result(result)
            return
        outcome, payload, by_both = words.outcome(self._trust, entry.payload)
        facts = self._round(outcome.mh)
        facts.say(Part.OUTCOME, entry.number, payload)
        facts.take_outcome(outcome, by_both=by_both)

    def _check_own_head(self, head: bytes, what: str, entry: ChainedEntry, back: int = 1) -> None:
        """The aggregator names its log's head right before its own words, main the one at which the judging began."""
        is_right_before = self.role is Role.AGGREGATOR
        fits = head == self.chain.before(back) if is_right_before else self.chain.number_of(head) is not None
        if self.chain.is_whole and not fits:
            message = f"The {what} in entry {entry.number} names another head of the log than the one before it."
            self.add(Flaw.REWRITTEN, message, entry)

    def _heard(self, facts: RoundFacts, verdict: Verdict) -> int:
        """The last entry that this server had heard for sure when it said whose reports there are; 0 if none is sure.

        Main had when it began to judge, and names that head; the aggregator when the round began: it looks who is a
        member when a report comes, and not again. In a round that was taken over, entries stand elsewhere than when the
        words were said.
        """
        opened = facts.word(Part.MANIFEST)
        if opened is None or facts.mh in self._restored:
            return 0
        if self.role is Role.AGGREGATOR:
            return opened.entry
        return max(opened.entry, self.chain.number_of(verdict.log_head) or 0)

    # ---- members and evidence ---------------------------------------------------------------------------------

    def _rekeyed(self, entry: ChainedEntry) -> None:
        with self._of_member():
            self.members.rekeyed(entry.payload)

    def _left(self, entry: ChainedEntry) -> None:
        with self._of_member():
            self.members.left(entry.payload, entry.number)

    @contextmanager
    def _of_member(self) -> Iterator[None]:
        """What a member signed: under which key, earlier entries say."""
        try:
            yield
        except FanlightError:
            if self.chain.is_whole:
                raise

    def _receipt(self, entry: ChainedEntry) -> None:
        receipt = Receipt.decode(signing.verify_bytes(self._trust.aggregator_key, RECEIPT, entry.payload))
        if len(self.receipts) < _MOST_RECEIPTS:
            self.receipts.append((entry.number, receipt))

    _HANDLERS: ClassVar[Mapping[str, Handler]] = {
        "proposal": _proposal,
        COHORT: _cohort,
        "manifest": _manifest,
        "close": _close,
        "verdict": _verdict,
        "release": _release,
        SHARD_LEFT_OUT: _left_out,
        RESTORED: _taken_over,
        "outcome": _outcome,
        "second-receipt": _receipt,
        "unlisted-receipt": _receipt,
        "current-model": lambda self, _entry: self._attempts.changed(),
        "enrolled": lambda self, entry: self.members.enrolled(entry.payload),
        "token-conflict": lambda self, entry: self.members.tried_again(entry.payload),
        "rekeyed": _rekeyed,
        "left": _left,
        "revoked": lambda self, entry: self.members.revoked(entry.payload, entry.number),
    }
