"""What an audit can find, what it proves against whom, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from fanlight.protocol.identities import Role

NAMES: Final[Mapping[Role, str]] = {Role.MAIN: "main server", Role.AGGREGATOR: "aggregator"}
MOST_FINDINGS: Final = 200
"""More are counted, but not kept."""


class Flaw(StrEnum):
    """Kinds of findings; the values are for programs."""

    ALTERED = "entry-altered"
    MISSING = "entry-missing"
    DISORDER = "entry-out-of-place"
    UNREADABLE = "unreadable"
    CUT = "cut-off"
    NOT_SIGNED = "not-signed"
    AGAINST_RULES = "against-the-rules"
    WRONG_SET = "wrong-set"
    REWRITTEN = "rewritten"
    GAP = "round-missing"
    RESTORED = "restored"
    REMOVED = "word-removed"
    BEHIND = "log-behind"
    TWO_WORDS = "two-words"
    SECOND_RELEASE = "second-release"
    UNLISTED = "report-not-listed"


class Meaning(NamedTuple):
    """What a flaw proves, and what to do; ``{log}`` is the server whose log it is in, ``{by}`` whom it speaks against.

    ``proof`` says whether anybody else can be convinced by it: signed words, not only a file that does not fit.
    """

    proves: str
    advice: str
    proof: bool = False


_AGAIN: Final = "Download the log from the {log} again. "
_FILE: Final = "The file was changed after it was written, or the {log} changed its own log."
_KEEP: Final = "Keep both files; stop the task; ask who runs the {by}, and let no device report until it is explained."

MEANINGS: Final[Mapping[Flaw, Meaning]] = {
    Flaw.ALTERED: Meaning(_FILE, _AGAIN + "If it says the same, keep the file, and compare with an older copy."),
    Flaw.MISSING: Meaning(
        "Entries were taken out of the file, or of the log.",
        _AGAIN + "If they are still missing, keep the file, and ask who runs the {log}.",
    ),
    Flaw.DISORDER: Meaning(_FILE, _AGAIN + "If it says the same, keep the file, and compare with an older copy."),
    Flaw.UNREADABLE: Meaning("Nothing behind this place could be checked.", _AGAIN.strip()),
    Flaw.CUT: Meaning(
        "The {log} signed that its log is longer than this file: the end was lost on the way, or cut off.",
        _AGAIN.strip(),
    ),
    Flaw.NOT_SIGNED: Meaning(
        "The {log} keeps as said what the one who should have said it has not signed.",
        "Keep the file, and ask who runs the {log}.",
    ),
    Flaw.AGAINST_RULES: Meaning(
        "No honest {log} of this version writes this.",
        "Keep the file, and ask who runs the {log}; if it runs a newer version of Fanlight, audit with that one.",
    ),
    Flaw.WRONG_SET: Meaning(
        "A sum is not over the reports that were accepted, or over the shard that was drawn; more or fewer were "
        "accepted than the terms allow; or somebody counts who was no member.",
        _KEEP,
        proof=True,
    ),
    Flaw.RESTORED: Meaning(
        "The {log} says that its state was put back from an older copy: what it had signed of this round it has taken "
        "over from the other server, which proves nothing against it; what else it had said by then is lost.",
        "Ask who runs the {log} whether that is so, and compare with an older copy of its log.",
    ),
    Flaw.REWRITTEN: Meaning(
        "The {by} signed the head of another log than this one: entries before this place were changed after they had "
        "been signed for.",
        _KEEP,
        proof=True,
    ),
    Flaw.GAP: Meaning("Rounds were taken out of the log, or held without being logged.", _KEEP),
    Flaw.REMOVED: Meaning(
        "The other server holds the signed word; the {by} must have had it, since it went on, and its log hides it.",
        _KEEP,
        proof=True,
    ),
    Flaw.BEHIND: Meaning(
        "Either this file is older than the other one, or the end of the log was cut off.",
        "Download both logs again, one right after the other, while no round is open. "
        "If it stays so, the {by} has cut off the end of its log.",
    ),
    Flaw.TWO_WORDS: Meaning(
        "The {by} signed two different words about one thing, and told the two servers differently, "
        "or rewrote its log afterwards. Both signatures can be checked by anybody.",
        _KEEP,
        proof=True,
    ),
    Flaw.SECOND_RELEASE: Meaning(
        "The {by} released two sums of one round. Their difference can expose a single device's report. "
        "Both signatures can be checked by anybody.",
        _KEEP,
        proof=True,
    ),
    Flaw.UNLISTED: Meaning(
        "The {by} signed a receipt for a report, and then a list without it: it leaves out whom it wants. "
        "Both signatures can be checked by anybody.",
        _KEEP,
        proof=True,
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        flaw: its kind.
        log: whose log it is in.
        message: what, in a sentence.
        against: which server it speaks against, unless the file was changed by somebody else.
        entry, round: where, as far as it is known.
    """

    flaw: Flaw
    log: Role
    message: str
    against: Role
    entry: int | None = None
    round: int | None = None

    @property
    def is_proof(self) -> bool:
        """Can others be convinced by it?"""
        return MEANINGS[self.flaw].proof

    @property
    def proves(self) -> str:
        """What it proves."""
        return self._filled(MEANINGS[self.flaw].proves)

    @property
    def advice(self) -> str:
        """What to do."""
        return self._filled(MEANINGS[self.flaw].advice)

    def _filled(self, text: str) -> str:
        return text.format(log=NAMES[self.log], by=NAMES[self.against])


class Findings:
    """Findings as they come: the first ones are kept, all are counted."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.count = 0

    def add(self, finding: Finding) -> None:
        """One more."""
        self.count += 1
        if len(self.kept) < MOST_FINDINGS:
            self.kept.append(finding)


class Untold(Exception):
    """An entry builds on one that is missing or altered, which was said before: nothing can be checked of it."""


class Flawed(Exception):
    """An entry says what it must not; becomes a finding.

    Args:
        flaw: the kind.
        message: what, in a sentence.
        against: whom it speaks against; by default the server whose log it is.
    """

    def __init__(self, flaw: Flaw, message: str, against: Role | None = None) -> None:
        super().__init__(message)
        self.flaw, self.message, self.against = flaw, message, against
