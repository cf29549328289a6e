"""The audit: one log or both, round by round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fanlight.protocol.audit.crossing import Crossing
from fanlight.protocol.audit.facts import RoundFacts
from fanlight.protocol.audit.findings import Findings
from fanlight.protocol.audit.one_log import OTHER, OneLog
from fanlight.protocol.audit.receipts import unlisted
from fanlight.protocol.audit.source import LogSource
from fanlight.protocol.identities import Role, Trust

_WITHOUT_MAIN = (
    "Main's signatures on the terms of each round: the aggregator's log holds only its own.",
    "Whether another version had become current where a round is another attempt: main notes that.",
    "Whether the aggregator gave receipts for reports that it then left out: main keeps them.",
    "Who was summed with whom in rounds with shards: what that was drawn of is in main's log.",
)
_WITHOUT_AGGREGATOR = (
    "Whether the heads that the aggregator signed are those of its log.",
    "Whether the aggregator's own list of members agrees.",
)


@dataclass(frozen=True)
class AuditedRound:
    """One round as the logs tell it.

    Attributes:
        facts: by log; the main server's says more.
    """

    facts: dict[Role, RoundFacts]

    @property
    def best(self) -> RoundFacts:
        """The fuller account: main's, unless only the aggregator's goes on."""
        main, aggregator = self.facts.get(Role.MAIN), self.facts.get(Role.AGGREGATOR)
        if main is None or (aggregator is not None and aggregator.is_over and not main.is_over):
            assert aggregator is not None
            return aggregator
        return main


class Audit:
    """Audits the logs of one federation.

    Args:
        trust: the root, and both servers' keys, which it certified.
        sources: one log, or one of each server.

    Attributes:
        findings: what is wrong; complete once ``rounds`` has come to its end.
        logs: what was read, by server.
    """

    def __init__(self, trust: Trust, sources: Sequence[LogSource]) -> None:
        self._trust = trust
        self.findings = Findings()
        self.logs = {source.role: OneLog(source, trust, self.findings) for source in sources}

    def rounds(self) -> Iterator[AuditedRound]:
        """Check everything; every round as soon as all is known of it, in order."""
        crossing = Crossing(self.logs) if len(self.logs) > 1 else None
        while True:
            for log in self.logs.values():
                log.fill()
            numbers = [min(log.rounds) for log in self.logs.values() if log.rounds]
            if not numbers:
                break
            number = min(numbers)
            found = {role: log.rounds.pop(number) for role, log in self.logs.items() if number in log.rounds}
            if crossing is not None:
                for finding in crossing.compare(number, found):
                    self.findings.add(finding)
            yield AuditedRound(found)
        if main := self.logs.get(Role.MAIN):
            for finding in unlisted(main.source, self._trust, main.receipts):
                self.findings.add(finding)

    @property
    def unchecked(self) -> list[str]:
        """What could not be checked, in sentences."""
        missing = []
        if len(self.logs) == 1:
            missing.append("Whether the two servers tell the same story: a server that rewrites its log is caught by "
                           "what the other one holds.")  # fmt: skip
        if Role.MAIN not in self.logs:
            missing += _WITHOUT_MAIN
        if Role.AGGREGATOR not in self.logs:
            missing += _WITHOUT_AGGREGATOR
        for log in self.logs.values():
            if log.counts[OTHER]:
                missing.append(f"{log.counts[OTHER]} entries of types that this version does not know.")
        missing.append("Whether both servers rewrote both logs together: only devices' receipts and outcomes, "
                       "and older copies of the logs, could show that.")  # fmt: skip
        return missing
