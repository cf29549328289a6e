"""Rounds that come to nothing one after the other: each further one opens later, up to ten minutes.

One such round is followed by the next at once, since most of what goes wrong passes. What does not pass would have
rounds given up as fast as they are opened, and fill log and disk. Counted are rounds that main or the aggregator gave
up, or that have failed, without one that was complete between them; not those that an operator gave up, that made room,
or whose window passed, which has taken its time. Kept in memory, on a clock that only grows: a restart begins the pause
anew, and who lets rounds go on ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from fanlight.protocol.exchange import ORDERED_BY_MAIN
from fanlight.protocol.main_round import State
from fanlight.services.main_server import round_table
from fanlight.services.main_server.made_room import made_room
from fanlight.services.main_server.round_table import RoundLine

FREE: Final = 2
"""So many in a row are followed by the next one at once."""
FIRST_S: Final = 2.0
LONGEST_S: Final = 600.0
_LOOKED_AT: Final = 16
_IN_VAIN: Final = frozenset({State.ABANDONED, State.FAILED})
_BY_AN_OPERATOR: Final = frozenset({ORDERED_BY_MAIN, "abandoned-by-operator"})
_NO_COUNT: Final = _BY_AN_OPERATOR | {"window-passed"}


class Brake:
    """Counts for a service.

    Args:
        monotonic: seconds that only grow.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: tuple[int, float] = (0, 0.0)
        self._released = 0

    def left_s(self, tx: Connection) -> float:
        """In how many seconds the next round may open; 0 while one is under way."""
        newest = round_table.latest_line(tx)
        if newest is None or newest.at not in _IN_VAIN:
            return 0.0
        in_vain = self.in_vain(tx)
        if in_vain <= FREE:
            return 0.0
        number, now = newest.number, self._monotonic()
        if self._since[0] != number:
            self._since = number, now
        pause_s = min(FIRST_S * float(1 << (in_vain - FREE - 1)), LONGEST_S)
        return max(0.0, self._since[1] + pause_s - now)

    def in_vain(self, tx: Connection) -> int:
        """How many rounds in a row have come to nothing, up to the newest one; at most 16."""
        count = 0
        for line in round_table.page(tx, 0, _LOOKED_AT):
            if line.number <= self._released or not (_is_in_vain(line) or _is_passed_over(line)):
                break
            count += _is_in_vain(line)
        return count

    def release(self, tx: Connection) -> None:
        """The operator lets rounds go on: count anew from here."""
        newest = round_table.latest_line(tx)
        self._released = newest.number if newest is not None else 0


def _is_in_vain(line: RoundLine) -> bool:
    return line.at in _IN_VAIN and not _is_passed_over(line)


def _is_passed_over(line: RoundLine) -> bool:
    return line.at is State.ABANDONED and (made_room(line.reason) or line.reason in _NO_COUNT)
