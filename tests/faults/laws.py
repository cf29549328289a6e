"""The laws by name, and what is raised when one does not hold."""

from __future__ import annotations

from enum import StrEnum


class Law(StrEnum):
    """The invariants."""

    SUM = "a released sum is the plain integer sum of exactly the accepted reports, of its shard if there are any"
    ONE_RELEASE = "a task, round and shard has at most one release, for ever"
    SEEDS = "no seed is used twice"
    NOTHING_LOST = "what was acknowledged is never lost"
    SAME_ANSWER = "the same request gets the same bytes"
    ROUNDS_END = "every round ends released, failed or abandoned"
    AGREEMENT = "all parties agree how a round has ended"
    LOGS = "both logs stand an audit, and begin with all that they held before"


class Violation(AssertionError):
    """A law does not hold."""

    def __init__(self, law: Law, details: str) -> None:
        super().__init__(f"{law}: {details}")
        self.law = law


def law(name: Law, holds: object, details: str = "") -> None:
    """Raise ``Violation`` unless ``holds``."""
    if not holds:
        raise Violation(name, details)
