"""Whom an open round waits for: until all expected reports are in, a share of them, or a cohort's worth.

The rules are those of the moment at which the round was proposed; a changed policy holds from the next round on.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from fanlight.services.main_server import notes
from fanlight.services.main_server.policy import Policy


@dataclass(frozen=True)
class WaitingRules:
    """When a round with enough reports for a sum waits no longer.

    Attributes:
        wait_s: seconds after the report that made a sum possible.
        expected_percent: share of the devices that have reported or may still do.
        enough: this many reports, whoever is missing; 0 = there is no such number.
        by_itself: it ends by these rules; else its operator ends it.
    """

    wait_s: int
    expected_percent: int
    enough: int
    by_itself: bool = True

    @classmethod
    def of_policy(cls, policy: Policy) -> WaitingRules:
        """What a round that is proposed now goes by."""
        return cls(policy.wait_s, policy.expected_percent, policy.cohort_size, policy.by_itself)

    @classmethod
    def of_newest(cls, tx: Connection, policy: Policy) -> WaitingRules:
        """What the newest round goes by; ``policy`` if it was proposed before this was kept."""
        kept = notes.read_all(tx, cls.of_policy(policy).as_notes())
        by_itself = bool(kept[notes.BY_ITSELF])
        return cls(kept[notes.WAIT_S], kept[notes.EXPECTED_PERCENT], kept[notes.ENOUGH], by_itself)

    def as_notes(self) -> dict[str, int]:
        """What to keep of them for the round that is being proposed."""
        return {
            notes.WAIT_S: self.wait_s,
            notes.EXPECTED_PERCENT: self.expected_percent,
            notes.ENOUGH: self.enough,
            notes.BY_ITSELF: int(self.by_itself),
        }

    def are_content(self, reported: int, missing: int, waited_s: float) -> bool:
        """May a round end that has enough reports for a sum?

        Args:
            reported: devices that have.
            missing: devices that are connected and have neither reported nor said that they will not.
            waited_s: seconds since there were enough for a sum.
        """
        most = self.most_missing(reported, waited_s)
        return most is None or missing <= most

    def most_missing(self, reported: int, waited_s: float) -> int | None:
        """How many may be missing in a round that may end; None: any number. Arguments as in ``are_content``."""
        if waited_s >= self.wait_s or 0 < self.enough <= reported:
            return None
        return 100 * reported // self.expected_percent - reported
