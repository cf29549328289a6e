"""What is said in a round, in which order, and by whom."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from fanlight.protocol.identities import Role


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
NEEDS: Final = {
    Part.MANIFEST: Part.PROPOSAL,
    Part.CLOSE: Part.MANIFEST,
    Part.VERDICT: Part.CLOSE,
    Part.RELEASE: Part.VERDICT,
    Part.RESULT: Part.RELEASE,
}
"""What must have been said before."""
FIRST_OF_AGGREGATOR: Final = (Part.PROPOSAL, Role.AGGREGATOR)
"""The aggregator's log begins a round with the manifest."""
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
