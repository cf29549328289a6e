"""How seldom a device knocks at last at a server that does not answer.

Where nothing waits for it, twice a minute. While a round may be waiting for its report, or its report for a receipt,
the round goes on only as soon as the device has found the server again: then every few seconds, for as long as it
takes. Many devices knock no more often together than main can bear: what it has asked of them (``pause_s``, see
``main_server.pace``) says how many there are. At 200 polls a second each device comes within ``AWAITED_S`` where there
are 2,000, and with more of them the time grows as their number does, so that about 1,000 knock in a second.
"""

from __future__ import annotations

from typing import Final

LONGEST_S: Final = 30.0
AWAITED_S: Final = 4.0
_OF_PAUSE: Final = 0.2


def longest_s(*, awaited: bool, pause_s: int | None) -> float:
    """The bound of the last waits, of which a device draws evenly.

    Args:
        awaited: this device has a report whose round may not be over, or knows of an open round.
        pause_s: within how many seconds main wanted it to come back when it last had nothing to do; none: at once.

    Returns:
        ``AWAITED_S`` to ``LONGEST_S``.
    """
    return min(LONGEST_S, AWAITED_S + _OF_PAUSE * (pause_s or 0)) if awaited else LONGEST_S
