"""Whether an open round with enough reports for a sum waits for more, and for how long at most."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice

from sqlalchemy import Connection

from fanlight.services.main_server import members, round_table
from fanlight.services.main_server.round_table import Stored
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.stragglers import WaitingRules


class Waiting:
    """Decides for a service; remembers since when the newest round could end."""

    def __init__(self, service: MainService) -> None:
        self._service = service
        self._enough_since: tuple[bytes, float] | None = None

    def is_over(self, tx: Connection, stored: Stored, rules: WaitingRules) -> bool:
        """Asked at every report: so it counts, and looks at silent devices only until there are too many of them."""
        reported = round_table.arrived(tx, stored.mh)
        if reported < stored.record.terms.k_min:
            return False
        most = rules.most_missing(reported, self._waited_s(stored.mh))
        missing = filter(self._is_awaited_in(stored), members.silent(tx, stored.mh))
        return most is None or sum(1 for _ in islice(missing, most + 1)) <= most

    def due_in_s(self, mh: bytes, rules: WaitingRules) -> float:
        """In how many seconds, without news, a round may have waited enough; infinite before it has enough reports."""
        if self._enough_since is None or self._enough_since[0] != mh:
            return math.inf
        return min(max(0.0, rules.wait_s - self._waited_s(mh)), self._service.presence.changes_in_s())

    def _waited_s(self, mh: bytes) -> float:
        """Seconds since a round was first seen here with enough reports for a sum; a restart begins anew."""
        now = self._service.monotonic()
        if self._enough_since is None or self._enough_since[0] != mh:
            self._enough_since = mh, now
        return now - self._enough_since[1]

    def _is_awaited_in(self, stored: Stored) -> Callable[[bytes], bool]:
        """Whether a device may be there, takes part in the round, and has not said that it will not report."""
        presence, cohort = self._service.presence, frozenset(stored.record.cohort)
        declined = presence.declined(stored.number)

        def is_awaited(device: bytes) -> bool:
            return presence.may_be_present(device) and device not in declined and (not cohort or device in cohort)

        return is_awaited
