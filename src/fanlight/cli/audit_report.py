"""What ``fanlight audit`` says: each round's transcript, the findings, what could not be checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fanlight.consoles.formats import duration
from fanlight.consoles.reasons import plainly, why
from fanlight.protocol.audit.both import Audit, AuditedRound
from fanlight.protocol.audit.facts import RoundFacts
from fanlight.protocol.audit.findings import NAMES, Finding
from fanlight.protocol.audit.members import Members
from fanlight.protocol.audit.one_log import OneLog
from fanlight.protocol.closing import Outcome, Release, Result
from fanlight.protocol.identities import Role
from fanlight.services.server.incidents import MEANINGS

_SHOWN: Final = 10
"""Devices named in a line of a transcript; --round N names them all."""
_WIDTH: Final = 10
_ENDINGS: Final = {Result.RELEASED: "released", Result.FAILED: "failed", Result.ABANDONED: "given up"}


class Report:
    """Counts the rounds as they go by, and draws them.

    Args:
        audit: what is reported.
    """

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._ended: Counter[str] = Counter()

    # ---- a round ---------------------------------------------------------------------------------------------

    def count(self, found: AuditedRound) -> None:
        """Take a round into the summary."""
        outcome = found.best.outcome
        self._ended[outcome.result if outcome else "open"] += 1

    def transcript(self, found: AuditedRound, *, whole: bool = False) -> Iterator[str]:
        """A round for people, line by line; ``whole`` names all devices."""
        facts = found.best
        terms, rejected = facts.terms, facts.rejected
        again = f", attempt {terms.attempt + 1}" if terms.attempt else ""
        demo = ", a demonstration" if terms.demo else ""
        yield f"Round {facts.number}, {plainly(terms.kind)} of task {terms.task}{again}{demo}"
        yield _line("opened", self._opened(facts))
        yield _line("terms", f"{terms.k_min} to {terms.n_max} devices, at most {terms.r_max_percent} % rejected")
        yield _line("plan", terms.plan.hex())
        yield _line("model", f"{terms.model.hex()} (from which it starts)")
        if facts.asks_again:
            yield _line("asks again", f"plan and model of round {facts.asks_again}, whose sum was released")
        if terms.collection is not None:
            yield _line("changes", f"the sums that round {terms.collection} began to collect")
        yield _line("cohort", f"sampled, list {terms.cohort.hex()}" if terms.cohort else "all members")
        if facts.close is None:
            yield _line("received", "not closed")
        else:
            yield _line("received", f"{len(facts.close.reports)} reports")
        if facts.verdict is not None:
            yield _line("accepted", self._names([entry.device for entry in facts.accepted], whole=whole))
            by_reason: dict[str, list[bytes]] = {}
            for rejection in rejected:
                by_reason.setdefault(rejection.reason, []).append(rejection.device)
            for reason, devices in by_reason.items():
                yield _line("rejected", f"{self._names(devices, whole=whole)} - {why(reason)}")
            if not rejected:
                yield _line("rejected", "none")
        yield from _released(facts)
        yield _line("outcome", _outcome(facts))

    @staticmethod
    def _opened(facts: RoundFacts) -> str:
        if facts.manifest is None:
            return "not yet: only proposed"
        return f"{_moment(facts.manifest.opened_at)}, for {duration(facts.terms.window_s)}; manifest {facts.mh.hex()}"

    def _names(self, devices: list[bytes], *, whole: bool) -> str:
        if not devices:
            return "none"
        shown = devices if whole else devices[:_SHOWN]
        more = f" and {len(devices) - len(shown)} more" if len(devices) > len(shown) else ""
        return f"{len(devices)}: " + ", ".join(map(self._name, shown)) + more

    def _name(self, device: bytes) -> str:
        name = self._member_name(device)
        return f"{name} ({device.hex()[:8]})" if name else device.hex()

    def _member_name(self, device: bytes) -> str:
        members: list[Members] = [log.members for log in self._audit.logs.values()]
        return next((name for known in members if (name := known.name(device))), "")

    # ---- the end ---------------------------------------------------------------------------------------------

    def summary(self) -> Iterator[str]:
        """What was read, in a few lines."""
        for log in self._audit.logs.values():
            yield f"The {NAMES[log.role]}'s log: {_length(log)}"
        total = sum(self._ended.values())
        ends = [f"{count} {_ENDINGS.get(Result(end), end)}" for end, count in self._ended.items() if end != "open"]
        ends += [f"{self._ended['open']} not over"] if self._ended["open"] else []
        yield f"Rounds: {total}" + (f" ({', '.join(ends)})" if ends else "")
        yield f"Devices: {max(len(log.members) for log in self._audit.logs.values())}"
        for kind, count in self._incidents().items():
            yield f"Worth a look: {count} × {kind}: {MEANINGS[kind]}"

    def findings(self) -> Iterator[str]:
        """What is wrong, one paragraph each."""
        found = self._audit.findings
        for number, finding in enumerate(found.kept, start=1):
            yield f"{number}. In the {NAMES[finding.log]}'s log: {finding.message}"
            yield f"   It proves: {finding.proves}" if finding.is_proof else f"   It means: {finding.proves}"
            yield f"   What to do: {finding.advice}"
        if found.count > len(found.kept):
            yield f"… and {found.count - len(found.kept)} more like these."

    def unchecked(self) -> Iterator[str]:
        """What could not be checked."""
        yield from (f"Not checked: {line}" for line in self._audit.unchecked)

    def _incidents(self) -> dict[str, int]:
        logs = self._audit.logs.values()
        return {kind: most for kind in MEANINGS if (most := max(log.counts[kind] for log in logs))}

    # ---- for programs ----------------------------------------------------------------------------------------

    def round_json(self, found: AuditedRound) -> dict[str, Any]:
        """A round as one object; what is not known is None."""
        facts = found.best
        manifest, outcome, terms = facts.manifest, facts.outcome, facts.terms
        whole = next(iter(facts.releases), None) if terms.shards is None else None
        return {
            "round": facts.number,
            "task": terms.task,
            "kind": terms.kind,
            "collection": terms.collection,
            "attempt": terms.attempt,
            "asks_again": facts.asks_again or None,
            "demo": terms.demo,
            "logs": [role.value for role in found.facts],
            "mh": facts.mh.hex() or None,
            "opened_at": manifest.opened_at if manifest else None,
            "window_s": terms.window_s,
            "plan": terms.plan.hex(),
            "model": terms.model.hex(),
            "cohort": terms.cohort.hex() or None,
            "k_min": terms.k_min,
            "n_max": terms.n_max,
            "r_max_percent": terms.r_max_percent,
            "received": len(facts.close.reports) if facts.close else None,
            "accepted": [entry.device.hex() for entry in facts.accepted] if facts.verdict else None,
            "rejected": {each.device.hex(): each.reason for each in facts.rejected} if facts.verdict else None,
            "sum": whole.sum_hash.hex() if whole else None,
            "set_root": whole.set_root.hex() if whole else None,
            "shards": None if terms.shards is None else [_shard_json(each, outcome) for each in facts.releases],
            "result": outcome.result if outcome else None,
            "reason": outcome.reason if outcome else None,
            "signed_by_both": facts.by_both,
        }

    def summary_json(self) -> dict[str, Any]:
        """The last object."""
        found = self._audit.findings
        return {
            "ok": not found.count,
            "logs": {log.role.value: _log_json(log) for log in self._audit.logs.values()},
            "rounds": dict(self._ended),
            "incidents": self._incidents(),
            "findings": [_finding_json(finding) for finding in found.kept],
            "findings_total": found.count,
            "not_checked": self._audit.unchecked,
        }


def _finding_json(finding: Finding) -> Mapping[str, Any]:
    return {
        "flaw": finding.flaw.value,
        "log": finding.log.value,
        "against": finding.against.value,
        "proof": finding.is_proof,
        "entry": finding.entry,
        "round": finding.round,
        "message": finding.message,
        "proves": finding.proves,
        "next": finding.advice,
    }


def _log_json(log: OneLog) -> Mapping[str, Any]:
    signed = log.source.signed
    return {
        "entries": log.chain.number,
        "head": log.chain.head.hex(),
        "made_at": signed.time if signed else None,
        "devices": len(log.members),
        "types": dict(log.counts),
    }


def _length(log: OneLog) -> str:
    signed = log.source.signed
    made = f", as its server signed on {_moment(signed.time)}" if signed else ""
    return f"{log.chain.number} entries, head {log.chain.head.hex()[:16]}…{made}"


def _released(facts: RoundFacts) -> Iterator[str]:
    if facts.terms.shards is None:
        for release in facts.releases:
            yield _line("released", f"one sum over {release.count} devices, {release.sum_hash.hex()}")
            yield _line("set", f"{release.set_root.hex()} (Merkle root)")
        return
    yield _line("released", f"{len(facts.releases)} sums, in shards drawn as {facts.terms.shards}")
    for release in facts.releases:
        reason = why(_shard_reason(release, facts.outcome) or "ok")
        sum_ = f"{release.count} devices, {release.sum_hash.hex()}{', left out: ' + reason if reason else ''}"
        yield _line(f"shard {release.shard}", sum_)
        yield _line("set", f"{release.set_root.hex()} (Merkle root)")


def _shard_reason(release: Release, outcome: Outcome | None) -> str | None:
    shard = outcome.shard(release.shard) if outcome else None
    return shard.reason if shard else None


def _shard_json(release: Release, outcome: Outcome | None) -> Mapping[str, Any]:
    return {
        "shard": release.shard,
        "devices": release.count,
        "sum": release.sum_hash.hex(),
        "set_root": release.set_root.hex(),
        "reason": _shard_reason(release, outcome),
    }


def _outcome(facts: RoundFacts) -> str:
    outcome = facts.outcome
    if outcome is None:
        return "not over"
    by = "both servers" if facts.by_both else f"the {NAMES[Role.AGGREGATOR]}"
    reason = why(outcome.reason)
    return f"{_ENDINGS[Result(outcome.result)]}{': ' + reason if reason else ''}; signed by {by}"


def _line(name: str, text: str) -> str:
    return f"  {name:<{_WIDTH}}{text}"


def _moment(time: int) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{time} s after 1970"
