"""What one log says of attempts: does each follow from how the round before it ended, and what is asked once more?

Attempts are no barrier (a plan or model that differs in one bit is another question), but a raised one has a reason
that the log tells: the round before it failed or was taken over from the other server, or another version became
current.
"""

from __future__ import annotations

from fanlight.protocol.audit.facts import RoundFacts
from fanlight.protocol.closing import Result
from fanlight.protocol.identities import Role


class Attempts:
    """Follows the rounds of one log.

    Args:
        role: whose log. Only main's notes that another version became current.
    """

    def __init__(self, role: Role) -> None:
        self._role = role
        self._has_changed = False
        self._taken_over: set[int] = set()
        self._released: dict[tuple[bytes, bytes], int] = {}

    def changed(self) -> None:
        """Another version has become current since the last round began."""
        self._has_changed = True

    def taken_over(self, number: int) -> None:
        """This round was taken over, as the log had been put back: some may have answered before what is asked next."""
        self._taken_over.add(number)

    def follow(self, before: RoundFacts, facts: RoundFacts) -> str | None:
        """Take the next round, and note whether it ``asks_again``; what is wrong with its attempt, in a sentence."""
        terms, past = facts.terms, before.terms
        if before.result == Result.RELEASED:
            self._released[past.plan, past.model] = before.number
        facts.asks_again = self._released.get((terms.plan, terms.model), 0)
        changed, self._has_changed = self._has_changed or self._role is Role.AGGREGATOR, False
        if not facts.is_whole or facts.number != before.number + 1:
            return None
        if terms.attempt not in (past.attempt, past.attempt + 1):
            return f"Attempt {terms.attempt} of round {facts.number} does not follow {past.attempt}."
        has_reason = changed or before.result == Result.FAILED or before.number in self._taken_over
        if terms.attempt == past.attempt or has_reason:
            return None
        return (
            f"Round {facts.number} is another attempt, though round {before.number} did not fail, and no other version "
            "became current."
        )
