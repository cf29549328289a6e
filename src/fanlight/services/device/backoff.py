"""How long to wait before trying again: longer each time, and never in step with a thousand other devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Backoff:
    """Doubling waits with jitter.

    Attributes:
        jitter: a number in [0, 1), fresh each call.
        first_s: about the first wait.
        longest_s: no wait is longer.
    """

    jitter: Callable[[], float]
    first_s: float = 0.5
    longest_s: float = 30.0
    failures: int = 0

    def next(self) -> float:
        """The next wait in seconds: between half and all of ``first_s`` · 2ⁿ, at most ``longest_s``."""
        most = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return float(most * (0.5 + self.jitter() / 2))

    def reset(self) -> None:
        """It worked."""
        self.failures = 0
