"""What a round's phases take."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Seconds by phase, of a clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = self._last = clock()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """The phase that ends now."""
        now = self._clock()
        self.laps[name], self._last = now - self._last, now

    @property
    def total(self) -> float:
        """Up to the end of the last phase."""
        return self._last - self._started
