"""The hours of a day in which no round opens, by the clock on the wall of a time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

_TIME: Final = r"((?:[01]\d|2[0-3]):[0-5]\d)"
_FORM: Final = re.compile(f"{_TIME}-{_TIME}", re.ASCII)
_MINUTE_S: Final = 60


@dataclass(frozen=True)
class QuietHours:
    """From ``start`` until just before ``end``, every day; over midnight where ``end`` is the earlier one.

    Where the clock is put forward, hours that it skips are missing from the night; where it is put back, an hour that
    comes twice is quiet twice.
    """

    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str, timezone: str) -> QuietHours | None:
        """``22:00-06:00`` in a zone such as ``Europe/Berlin``; None for an empty text.

        Raises:
            ValueError: no such hours, or no such zone; says so in words.
        """
        zone = _zone(timezone)
        if not text:
            return None
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:20]!r} are no hours of a day: write them like 22:00-06:00")
        start, end = map(time.fromisoformat, found.groups())
        if start == end:
            raise ValueError(f"quiet hours end at another time than they begin, not both at {start:%H:%M}")
        return cls(start, end, zone)

    def holds(self, unix_s: float) -> bool:
        """Is it quiet at this moment?"""
        now = datetime.fromtimestamp(unix_s, self.zone).time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def until(self, unix_s: float) -> float | None:
        """When it stops being quiet, in unix seconds; None if it is not quiet now."""
        if not self.holds(unix_s):
            return None
        # Minute by minute: a night has few, and clocks that are put forward or back need no rule of their own.
        first = (int(unix_s) // _MINUTE_S + 1) * _MINUTE_S
        return float(next(moment for moment in count(first, _MINUTE_S) if not self.holds(moment)))

    def in_words(self, unix_s: float) -> str:
        """A moment on this clock, such as ``06:00 (Europe/Berlin)``."""
        return f"{datetime.fromtimestamp(unix_s, self.zone):%H:%M} ({self.zone.key})"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a path, a folder of zones
        raise ValueError(f"{name[:64]!r} is no time zone: write it like Europe/Berlin or UTC") from None
