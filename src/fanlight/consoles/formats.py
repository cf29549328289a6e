"""Figures and states as people read them; the templates use these as filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from fanlight.consoles.reasons import plainly
from fanlight.core.percent import percent

Tone = Literal["good", "busy", "warn", "bad", "quiet"]

NOTHING: Final = "–"

_TONES: Final[Mapping[str, Tone]] = {
    "open": "busy",
    "proposed": "quiet",
    "collecting": "busy",
    "closed": "busy",
    "judged": "busy",
    "agreed": "busy",
    "released": "busy",
    "complete": "good",
    "finished": "good",
    "done": "good",
    "announced": "good",
    "trained": "good",
    "acknowledged": "good",
    "confirmed": "good",
    "running": "busy",
    "queued": "busy",
    "committed": "busy",
    "dismissed": "bad",
    "failed": "bad",
    "abandoned": "warn",
    "interrupted": "warn",
}


def tone(state: object) -> Tone:
    """How a state is coloured; a state that is not known here stays quiet."""
    return _TONES.get(str(state), "quiet")


def roughly(fraction: float | None) -> str:
    """A fraction in [0, 1] as ``93 %``, where there is no room for more."""
    return NOTHING if fraction is None else f"{100 * fraction:.0f}\N{NO-BREAK SPACE}%"


def points(after: float | None, before: float | None) -> str:
    """The difference of two fractions in percentage points, with its sign; ``±0.0`` is nearly none."""
    if after is None or before is None:
        return ""
    rounded = f"{100 * (after - before):+.1f}"
    return "±0.0" if float(rounded) == 0 else rounded.replace("-", "−")


def moment(unix_s: float | None, *, precise: bool = False) -> str:
    """Unix seconds as ``2026-11-21 22:31 UTC``, or ``2026-11-21 22:31:07 UTC`` if it is to be precise."""
    return NOTHING if unix_s is None else f"{_utc(unix_s):%Y-%m-%d %H:%M{':%S' if precise else ''}} UTC"


def clock(unix_s: float | None) -> str:
    """Unix seconds as ``22:31:07 UTC``, where the day is clear."""
    return NOTHING if unix_s is None else f"{_utc(unix_s):%H:%M:%S} UTC"


def iso(unix_s: float | None) -> str:
    """Unix seconds in the form of ``<time datetime>``."""
    return "" if unix_s is None else f"{_utc(unix_s):%Y-%m-%dT%H:%M:%SZ}"


def size(length_bytes: float | None) -> str:
    """Bytes as ``51.3 kB`` (decimal prefixes)."""
    if length_bytes is None:
        return NOTHING
    number = float(length_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Seconds as ``4.2 s``, ``3 min``, ``7 h`` or ``6 days``."""
    if seconds is None:
        return NOTHING
    for limit, divisor, unit in ((60, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.1f} {unit}" if divisor == 1 else f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def short(digest: str | None) -> str:
    """The beginning of a long hexadecimal name."""
    return NOTHING if not digest else digest[:12]


def count(number: int, singular: str, plural: str = "") -> str:
    """``1 report``, ``2 reports``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def results(found: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """A job's result as (name, value, page about it or nothing) for reading, without what only machines compare."""
    return [
        (name, show(found[key]), _PAGES[key].format(found[key]) if key in _PAGES else "")
        for key, (name, show) in _RESULTS.items()
        if found.get(key) is not None
    ]


def number(value: float) -> str:
    """A count with separators: ``1,200``."""
    return f"{value:,}"


def _utc(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


_RESULTS: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "round": ("Round", number),
    "state": ("How far", plainly),
    "published": ("Published", "version {}".format),
    "version": ("Measured", "version {}".format),
    "accuracy": ("Accuracy", percent),
    "accuracy_before": ("The version before", percent),
    "model_version": ("Started from version", number),
    "examples": ("Pictures learned from", number),
    "epochs": ("Passes", number),
    "received_accuracy": ("That version's accuracy", percent),
    "local_accuracy": ("Own model's accuracy", percent),
    "numbers": ("Numbers in a report", number),
    "bytes": ("Sent", size),
    "fingerprint": ("Fingerprint", short),
}

_PAGES: Final = {"published": "/models/{}", "version": "/models/{}"}
"""Where more is told of what a key names; only the main server's jobs have these."""

FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (tone, percent, roughly, points, moment, clock, iso, size, duration, short, count, results, number)
}
