"""When devices that have nothing to do come back ("pace steering").

Devices wait for news in long-polls, so that news reaches them in milliseconds. Each of these has an end, because it is
also how main knows that a device is there; with thousands of devices their ends alone would keep main busy, and news
would bring all of them back in the same second. So each offer says within which time to come back (Bonawitz et al.
2019, "Towards Federated Learning at Scale: System Design", section 2.3), and a device draws a moment in it, evenly.
The time follows from how many devices there are and how many polls a second are wanted; in small federations it is
none at all.
"""

from __future__ import annotations

import math
from typing import Final

from fanlight.protocol.exchange import LONGEST_PAUSE_S

LONGEST_OFFER_WAIT_S: Final = 10.0
"""A long-poll for an offer is answered at least this often, so that a living device is heard of."""


def pause_s(devices: int, polls_per_second: int) -> int:
    """Within how many seconds a device comes back that has nothing to do.

    A device waits for ``LONGEST_OFFER_WAIT_S`` and pauses for half of this on average: together ``devices`` polls take
    ``devices`` / ``polls_per_second`` seconds, and about ``polls_per_second`` · ``LONGEST_OFFER_WAIT_S`` wait at once.

    Args:
        devices: how many there are, at least 0.
        polls_per_second: how many polls are wanted, at least 1.

    Returns:
        0 to ``LONGEST_PAUSE_S``.
    """
    return min(math.ceil(2 * max(0.0, devices / polls_per_second - LONGEST_OFFER_WAIT_S)), LONGEST_PAUSE_S)


def between_polls_s(pause: int) -> float:
    """Seconds from one poll of a device that has nothing to do to its next one, on average."""
    return LONGEST_OFFER_WAIT_S + pause / 2
