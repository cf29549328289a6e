"""How long to wait before trying again: longer each time, as long as a server says, never in step with others.

Waits are drawn evenly between nothing and a bound that doubles ("full jitter": M. Brooker, Exponential Backoff And
Jitter, AWS Architecture Blog, 2015), which spreads those that failed together best. A server that has too much to do
says when to come back (``Retry-After``: RFC 9110, section 10.2.3); whoever was told so does not come earlier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_TOLD_S: Final = 900.0
"""No server's word keeps anybody away for longer."""
_SPREAD: Final = 0.5
"""Whoever is told to wait comes back within so much of that time after its end."""


@dataclass
class Backoff:
    """Doubling bounds, each wait drawn below them.

    Attributes:
        jitter: a number in [0, 1), fresh each call.
        first_s: the first bound.
        longest_s: no bound is larger.
        steady: after so many failures bounds begin to double; who is only being started again is then met at once.
    """

    jitter: Callable[[], float]
    first_s: float = 0.5
    longest_s: float = 30.0
    steady: int = 0
    failures: int = 0

    def next(self, told_s: float | None = None, longest_s: float = math.inf) -> float:
        """The next wait in seconds.

        Args:
            told_s: when the server said to come back, see ``FanlightError.retry_after_s``; not before that, then.
            longest_s: a smaller bound than the usual one, this time.

        Returns:
            between 0 and ``first_s`` · 2ⁿ for the n-th failure beyond ``steady``, at most ``longest_s``; where told, so
            much or half of ``told_s`` later than that, whichever is more.
        """
        bound = min(self.longest_s, longest_s, self.first_s * 2.0 ** min(max(0, self.failures - self.steady), 30))
        self.failures += 1
        if told_s is None:
            return self.jitter() * bound
        told_s = min(told_s, LONGEST_TOLD_S)
        return told_s + self.jitter() * max(bound, _SPREAD * told_s)

    def reset(self) -> None:
        """It worked."""
        self.failures = 0


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """What an answer's ``Retry-After`` says, in seconds from now on, at most ``LONGEST_TOLD_S``.

    Args:
        headers: of the answer; names in any case if the mapping allows that, else in lower case.
        now: unix seconds; a date is compared with the answer's own ``Date``, where it has one.

    Returns:
        None where there is none, or nothing that can be read.
    """
    told = headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told[:9]), LONGEST_TOLD_S)
    moment = _unix_s(told)
    if moment is None:
        return None
    sent = _unix_s(headers.get("date", ""))
    return min(max(moment - (now if sent is None else sent), 0.0), LONGEST_TOLD_S)


def _unix_s(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
