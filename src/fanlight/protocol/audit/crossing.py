"""The same round in both logs: each signed word must be the same in both, and none may be missing that was acted on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fanlight.protocol.audit.facts import RoundFacts
from fanlight.protocol.audit.findings import NAMES, Finding, Flaw
from fanlight.protocol.audit.one_log import OneLog
from fanlight.protocol.audit.parts import SPEAKER, Part
from fanlight.protocol.identities import Role

SHARED: Final = (Part.MANIFEST, Part.CLOSE, Part.VERDICT, Part.RELEASE, Part.OUTCOME)
"""What stands in both logs."""
_LOST_WHEN_ABANDONED: Final = {(Role.MAIN, Part.CLOSE), (Role.AGGREGATOR, Part.VERDICT)}
"""A round may be given up while this is under way, and then never arrives."""


class Crossing:
    """Compares two logs, round by round.

    Args:
        logs: both, read by the caller.
    """

    def __init__(self, logs: dict[Role, OneLog]) -> None:
        self._logs = logs
        self._behind: set[Role] = set()

    def compare(self, number: int, found: dict[Role, RoundFacts]) -> Iterator[Finding]:
        """What does not fit in round ``number``, of which each log says what is in ``found``, if it has the round."""
        main, aggregator = found.get(Role.MAIN), found.get(Role.AGGREGATOR)
        if main is not None and aggregator is not None:
            yield from self._differences(main, aggregator)
            if Part.MANIFEST in main.said and main.mh != aggregator.mh:
                return  # two different rounds: nothing else of them can be compared
        for part in SHARED:
            holders = [role for role, facts in found.items() if part in facts.said]
            if len(holders) == 1:
                yield from self._lacking(number, part, holders[0], found)

    @staticmethod
    def _differences(main: RoundFacts, aggregator: RoundFacts) -> Iterator[Finding]:
        number = main.number
        for part in SHARED:
            theirs = aggregator.said.get(part, {})
            for shard, our in main.said.get(part, {}).items():
                their = theirs.get(shard)
                if their is None or our.digest == their.digest:
                    continue
                flaw = Flaw.SECOND_RELEASE if part is Part.RELEASE else Flaw.TWO_WORDS
                where = f"entry {our.entry} of the main server's log, entry {their.entry} of the aggregator's"
                message = f"The {part} of round {number} differs: {where}."
                yield Finding(flaw, _other(SPEAKER[part]), message, SPEAKER[part], None, number)
                if part is Part.MANIFEST:
                    return
        result, outcome = main.word(Part.RESULT), aggregator.word(Part.OUTCOME)
        if result and outcome and result.digest != outcome.digest and Part.OUTCOME not in main.said:
            signed = "gave it up" if aggregator.is_abandoned else "signed another outcome"
            message = f"The main server says that round {number} has a sum; in the aggregator's log both {signed}."
            if aggregator.is_abandoned:
                message = f"The aggregator released round {number} (main server's log), and gave it up (its own log)."
            against = Role.AGGREGATOR if aggregator.is_abandoned else Role.MAIN
            yield Finding(Flaw.TWO_WORDS, _other(against), message, against, None, number)

    def _lacking(self, number: int, part: Part, holder: Role, found: dict[Role, RoundFacts]) -> Iterator[Finding]:
        """One log has ``part``, the other not."""
        role = _other(holder)
        log, theirs, ours = self._logs[role], found[holder], found.get(role)
        if not log.chain.is_whole or (ours and not ours.is_whole):
            return  # it may have been in what is missing or altered, which was said
        if ours is not None and ours.is_abandoned and (role, part) in _LOST_WHEN_ABANDONED:
            return
        entry = min(word.entry for word in theirs.said[part].values())
        if ours is None and number < log.last:
            return  # the whole round is missing, which was said
        if self._went_on(role, number) or (ours is not None and ours.is_over):
            message = (
                f"The {part} of round {number} is not in the {NAMES[role]}'s log; the other has it (entry {entry})."
            )
            yield Finding(Flaw.REMOVED, role, message, role, None, number)
        elif not (ours is not None and self._is_under_way(number, part, theirs)) and role not in self._behind:
            self._behind.add(role)
            message = (
                f"The {NAMES[role]}'s log ends in round {log.last} (entry {log.chain.number}); "
                f"the {NAMES[holder]}'s goes on with the {part} of round {number} (entry {entry})."
            )
            yield Finding(Flaw.BEHIND, role, message, role, None, number)

    def _went_on(self, role: Role, number: int) -> bool:
        """Did a server open a later round? Main may propose one before it has the last signature on this one."""
        log = self._logs[role]
        following = log.rounds.get(number + 1)
        return log.last > number + 1 or (following is not None and Part.MANIFEST in following.said)

    def _is_under_way(self, number: int, part: Part, theirs: RoundFacts) -> bool:
        """Is this the last thing that its speaker said, so that the other may not have heard it yet?"""
        is_its_own = SPEAKER[part] is theirs.role
        return is_its_own and theirs.furthest is part and self._logs[theirs.role].last == number


def _other(role: Role) -> Role:
    return Role.AGGREGATOR if role is Role.MAIN else Role.MAIN
