"""How long a round stays open: its window is on this server's clocks, and ends at the earlier of the two ways to count.

The manifest names when the window ends in unix seconds; that lasts through restarts, but the clock on the wall may be
set. Set forward, it ends the window at once. Set back, it would keep a round open, and everybody in it waiting, for as
long as it was set back. So the seconds that this process has had the round open are counted too; a restart begins that
count anew.
"""

from __future__ import annotations

from collections.abc import Callable

from fanlight.protocol.aggregator_round import Record


class Window:
    """Counts for the newest round.

    Args:
        clock: unix seconds.
        monotonic: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._since: tuple[bytes, float] | None = None

    def left_s(self, record: Record) -> float:
        """In how many seconds the window of an open round has passed; at least 0."""
        terms, now = record.terms, self._monotonic()
        if self._since is None or self._since[0] != record.mh:
            self._since = record.mh, now
        by_age = self._since[1] + terms.proposal.window_s - now
        return max(0.0, min(terms.closes_at - self._clock(), by_age))
