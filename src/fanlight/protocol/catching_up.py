"""A server whose state was put back from an older copy catches up on a round, from what it had signed itself.

Theory of operation. Such a server does not know that it is one. It would offer a round again, or sum one again that it
has released: sign two words about one thing. So before it goes on it looks at what the other server holds of the round,
and believes nothing of it but signatures: its own, which nobody else can make, and those of the other, which it had
believed before. A manifest with its own signature that it does not know proves that its state is older than its word.

What it learns so is a fact; what it does not learn, it takes for not said. The aggregator takes over the release and
the outcome that it had signed. It gives a round up only if main shows no release of it: then no sum of it ever left, or
was lost on its way with the state, and none can follow, since the number is spent. Main takes over its own verdict, and
how the round ended; a sum that it has lost it has lost, so such a round has failed for it, and the attempt is raised. A
round that is over here stays as it is.

This heals accidents, and does not hold against a server that lies about what it holds. A main server that holds a
release back has a round called abandoned whose sum it knows; an aggregator that is put back together with a round's key
can be brought to release a second sum. ``tests/attacks/test_what_remains.py`` does both.

Each such round is in the log as ``restored``: an audit says so, instead of taking what follows for a forgery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fanlight.errors import NotAuthentic
from fanlight.protocol import signing
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.aggregator_round import TERMINAL as AGGREGATOR_TERMINAL
from fanlight.protocol.aggregator_round import Record as AggregatorRecord
from fanlight.protocol.aggregator_round import State as AggregatorState
from fanlight.protocol.aggregator_round import Step as AggregatorStep
from fanlight.protocol.audit import words
from fanlight.protocol.closing import Outcome, Result, SignedOutcome, signed_releases
from fanlight.protocol.exchange import Words
from fanlight.protocol.identities import Trust
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import TERMINAL, Record, State, Step
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.manifest import COHORT, Cohort, Manifest, SignedManifest, read_manifest

RESTORED: Final = "restored"
"""Type of the log entry, and reason of a round that is given up: this server's state is older than its word.

The payload is the round's ``SignedManifest``."""


def main_words(record: Record) -> Words:
    """What main holds of an opened round."""
    return Words(
        manifest=record.manifest,
        cohort=record.cohort,
        close=record.close,
        verdict=record.verdict,
        release=record.release,
        outcome=record.outcome,
    )


def aggregator_words(record: AggregatorRecord) -> Words:
    """What the aggregator holds of an opened round."""
    signed = signing.Signed.decode(record.countersigned)
    manifest = SignedManifest(
        payload=record.manifest, aggregator_signature=signed.signature, main_signature=record.main_signature
    )
    parts = {"close": record.close, "verdict": record.verdict, "release": record.release, "outcome": record.outcome}
    return Words(manifest=manifest.encode(), cohort=record.cohort, **parts)


def aggregator_catches_up(machine: Aggregator, record: AggregatorRecord | None, told: Words) -> AggregatorStep:
    """What the aggregator had said of its newest round, or of one that it does not know: ``record`` is None.

    Returns:
        without entries: it knows all that it has said.

    Raises:
        NotAuthentic, MalformedMessage, Refused: a word is not signed as it should be, or is about another round.
    """
    trust, signed = machine.trust, SignedManifest.decode(told.manifest)
    manifest = read_manifest(trust, signed)
    if record is not None and (record.at in AGGREGATOR_TERMINAL or not _is_ahead(record, told)):
        return AggregatorStep(record, b"")
    known = record if record is not None else _offered(trust, signed, manifest, told)
    if known.mh != signed.hash:
        raise NotAuthentic("Main told of another round.", slug="foreign-round")
    heard = _Heard(trust, signed.hash, [LogEntry(RESTORED, told.manifest)])
    if record is None:
        heard.entries.append(LogEntry("manifest", known.countersigned))
    if known.at is AggregatorState.OFFERED:
        known = machine.open(known, signed).record
    if told.close and not known.close:
        known = known.with_(close=heard.close(told.close))
    if told.verdict and not known.verdict:
        known = known.with_(verdict=heard.verdict(told.verdict)[0])
    if told.release and not known.release:
        draw = heard.releases(told.release)
        known = known.with_(release=told.release, secret=draw, state=AggregatorState.RELEASED.value)
    if told.outcome and not known.outcome:
        given_up = heard.outcome(told.outcome)[0].result == Result.ABANDONED
        ended = AggregatorState.ABANDONED if given_up else AggregatorState.FINISHED
        return AggregatorStep(known.with_(outcome=told.outcome, state=ended.value), b"", tuple(heard.entries))
    if known.release:
        return AggregatorStep(known, b"", tuple(heard.entries))  # main's outcome, if there is one, it gives again
    step = machine.abandon(known, RESTORED)
    return AggregatorStep(step.record, step.reply, (*heard.entries, *step.entries))


def main_catches_up(machine: MainServer, record: Record | None, told: Words) -> Step:
    """What main had said of a round that the aggregator is further in than it, or that it does not know: None.

    Returns:
        without entries: it knows all that it has said.

    Raises:
        NotAuthentic, MalformedMessage, Refused: a word is not signed as it should be.
    """
    trust, signed = machine.trust, SignedManifest.decode(told.manifest)
    terms = read_manifest(trust, signed).proposal
    if record is not None and record.at in TERMINAL:
        return Step(record, b"")
    knows = record is not None and record.manifest
    known = record if record is not None else Record(
        state=State.OPEN.value, number=terms.round, attempt=terms.attempt, kind=terms.kind, proposal=terms.encode(),
        cohort=told.cohort,
    )  # fmt: skip
    heard = _Heard(trust, signed.hash, [LogEntry(RESTORED, told.manifest)])
    if record is None:
        heard.entries.append(LogEntry("proposal", terms.encode()))
        if terms.shards is not None:
            heard.entries.append(LogEntry(COHORT, Cohort(devices=told.cohort).encode()))
    if not knows:
        known = known.with_(state=State.OPEN.value, mh=signed.hash, manifest=told.manifest)
        heard.entries.append(LogEntry("manifest", told.manifest))
    if told.verdict and not known.verdict:
        known = known.with_(close=heard.close(told.close))
        data, proceed = heard.verdict(told.verdict)
        known = known.with_(verdict=data, state=(State.JUDGED if proceed else State.DISMISSED).value)
    if told.outcome and not (known.outcome or known.signed_outcome):
        known = _ended(heard, known, told)
    if record is not None and (known == record or not _has_forgotten(record, known)):
        return Step(record, b"")
    return Step(known, b"", tuple(heard.entries))


@dataclass
class _Heard:
    """Checks what was told of a round, and collects what goes into the log."""

    trust: Trust
    mh: bytes
    entries: list[LogEntry]

    def close(self, data: bytes) -> bytes:
        self._take(words.close(self.trust, data)[0].mh, LogEntry("close", data))
        return data

    def verdict(self, data: bytes) -> tuple[bytes, bool]:
        found, _ = words.verdict(self.trust, data)
        self._take(found.mh, LogEntry("verdict", data))
        return data, found.proceed

    def releases(self, data: bytes) -> bytes:
        """Take each of them; returns what shards were drawn with, if there are any."""
        draws = []
        for one in signed_releases(data):
            found, _ = words.release(self.trust, one)
            self._take(found.mh, LogEntry("release", one))
            draws.append(found.draw or b"")
        return draws[0]

    def outcome(self, data: bytes) -> tuple[Outcome, bool]:
        found, _, by_both = words.outcome(self.trust, data)
        self._take(found.mh, LogEntry("outcome", data))
        return found, by_both

    def _take(self, mh: bytes, entry: LogEntry) -> None:
        if mh != self.mh:
            raise NotAuthentic("A word is about another round than was said.", slug="foreign-round")
        self.entries.append(entry)


def _is_ahead(record: AggregatorRecord, told: Words) -> bool:
    """Does main hold a word of the aggregator's that this state does not know?"""
    unknown = (told.close, record.close), (told.release, record.release), (told.outcome, record.outcome)
    return any(theirs not in (b"", ours) for theirs, ours in unknown)


def _has_forgotten(before: Record, after: Record) -> bool:
    """Is a word of main's own among what it has learned?"""
    learned = (before.manifest, after.manifest), (before.verdict, after.verdict)
    return any(new != old for old, new in (*learned, (before.signed_outcome, after.signed_outcome)))


def _ended(heard: _Heard, known: Record, told: Words) -> Record:
    """How the round ended, as both had signed, or the aggregator alone where it gave it up."""
    if told.release and not known.release:
        heard.releases(told.release)
    outcome, by_both = heard.outcome(told.outcome)
    if outcome.result == Result.ABANDONED:
        return known.with_(outcome=told.outcome, state=State.ABANDONED.value)
    if not by_both:
        raise NotAuthentic("We had not signed that outcome.", slug="foreign-outcome")
    both = SignedOutcome.decode(told.outcome)
    ours = signing.Signed(both.payload, signing.key_id(heard.trust.main_key), both.main_signature or b"").encode()
    heard.entries.insert(-1, LogEntry("outcome", ours))
    return known.with_(
        release=told.release,
        signed_outcome=ours,
        outcome=told.outcome,
        state=State.FAILED.value,  # whatever came of the sum is not here any more
    )


def _offered(trust: Trust, signed: SignedManifest, manifest: Manifest, told: Words) -> AggregatorRecord:
    """A round as it had been opened. Its key, and what its shards were drawn with, are lost: it can only be ended."""
    ours = signing.Signed(signed.payload, signing.key_id(trust.aggregator_key), signed.aggregator_signature)
    return AggregatorRecord(
        state=AggregatorState.COLLECTING.value,
        number=manifest.proposal.round,
        attempt=manifest.proposal.attempt,
        mh=signed.hash,
        manifest=signed.payload,
        countersigned=ours.encode(),
        main_signature=signed.main_signature,
        cohort=told.cohort,
    )
