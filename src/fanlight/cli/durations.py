"""Durations as people write them on a command line."""

from __future__ import annotations

import re

from fanlight.errors import UsageError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def seconds(text: str) -> int:
    """Seconds of ``90s``, ``15m``, ``12h``, ``30d`` or ``4w``.

    Raises:
        UsageError: written otherwise, or nothing at all.
    """
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{text!r} is no duration.", next="Write a number and a unit: 90s, 15m, 12h, 30d or 4w.")
    return int(match[1]) * _UNITS_S[match[2]]
