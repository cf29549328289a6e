"""Where the moments of a round lie on a line, for drawing it; templates use ``lanes`` as a filter.

Places are fractions of the line's length: 0 is the opening of the round, 1 is now, or after its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any, Final

from fanlight.consoles.formats import Tone

_AFTERWARDS: Final = (0.15, 1.0)
"""Shares of a round's length, least and most, that are drawn behind its end, where devices fetch the new model."""
_SHORTEST_S: Final = 0.01

STEPS: Final[Mapping[str, tuple[str, Tone]]] = {
    "asked": ("asked", "quiet"),
    "away": ("away", "quiet"),
    "has-model": ("has the model", "quiet"),
    "announced": ("has announced", "busy"),
    "declined": ("does not take part", "quiet"),
    "reported": ("report arrived", "busy"),
    "counted": ("in the sum", "good"),
    "left-out": ("left out", "bad"),
    "missed": ("no report", "quiet"),
    "has-new-model": ("has the new model", "good"),
}
"""How far a device is, in words."""

_MOMENTS: Final = (
    ("model", "has the model"),
    ("announced", "announced"),
    ("report", "report arrived"),
    ("new_model", "has the new model"),
)


def lanes(timeline: Mapping[str, Any]) -> dict[str, Any] | None:
    """What to draw of a timeline of ``services.main_server.timeline``; None for a round that never opened.

    Returns:
        ``from``, ``until`` (unix seconds), ``ongoing``; ``round``: what both servers did (place, label, seconds
        after the opening); ``rows``: one for each device, with ``device`` (as given), ``words``, ``tone``, ``bars``
        (tone, place, length) and ``marks`` (tone, place, label, seconds after the opening; of moments
        that are one, because only the last one was heard of, the last one).
    """
    opened: float | None = timeline["opened_at"]
    if opened is None:
        return None
    ended = timeline["ended_at"]
    length = max(_SHORTEST_S, (timeline["now"] if ended is None else ended) - opened)
    until: float = opened + length
    if ended is not None:
        least, most = _AFTERWARDS
        last = max(
            (moment for entry in timeline["devices"] for moment in entry["moments"].values() if moment), default=0.0
        )
        until += min(max(least * length, last - ended), most * length)

    def place(moment: float) -> float:
        return round(min(1.0, max(0.0, (moment - opened) / (until - opened))), 4)

    both = [("judged_at", "closed"), ("released_at", "sum released"), ("ended_at", timeline["state"])]
    return {
        "from": opened,
        "until": until,
        "ongoing": ended is None,
        "round": [
            (place(timeline[key]), label, timeline[key] - opened) for key, label in both if timeline[key] is not None
        ],
        "rows": [
            _row(entry, timeline, place, place(until if ended is None else ended)) for entry in timeline["devices"]
        ],
    }


def _row(
    entry: Mapping[str, Any], timeline: Mapping[str, Any], place: Callable[[float], float], end: float
) -> dict[str, Any]:
    words, tone = STEPS[entry["step"]]
    found = [(key, label, entry["moments"][key]) for key, label in _MOMENTS if entry["moments"][key] is not None]
    found.sort(key=lambda entry: (entry[2], _PLACES[entry[0]]))
    told = [one for one, later in zip_longest(found, found[1:]) if later is None or one[2] != later[2]]
    judged, counted = timeline["judged_at"], entry["step"] in ("counted", "has-new-model")
    turns = [(key, place(moment)) for key, _label, moment in found]
    if judged is not None and counted:
        turns.append(("counted", place(judged)))
    turns.sort(key=lambda turn: (turn[1], _PLACES[turn[0]]))
    return {
        "device": entry,
        "words": words,
        "tone": tone,
        "bars": _bars(turns, end),
        "marks": [(key, place(moment), label, moment - timeline["opened_at"]) for key, label, moment in told],
    }


def _bars(turns: list[tuple[str, float]], end: float) -> list[tuple[str, float, float]]:
    """From each moment to the next one, in the colour of what was known; the new model ends the line."""
    ends = [*(at for _key, at in turns), end][1:]
    bars = [(key, at, round(next_at - at, 4)) for (key, at), next_at in zip(turns, ends, strict=True)]
    return [bar for bar in bars if bar[0] != "new_model" and bar[2] > 0]


_PLACES: Final = {"model": 0, "announced": 1, "report": 2, "counted": 3, "new_model": 4}

TIMELINES: Final[Mapping[str, Callable[..., Any]]] = {"lanes": lanes}
