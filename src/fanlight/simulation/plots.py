"""Line charts as SVG, for reports that are one file: no script, no style sheet of others, nothing to be fetched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

COLOURS: Final = ("#0b6e99", "#c2410c", "#3f7d20", "#7c3aed", "#b91c6b", "#8a6d00", "#475569", "#0f766e")
"""Told apart by most people, on white and on black; of more curves than these, dashes tell the rest."""
_DASHES: Final = ("", "6 3", "2 3")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 280, 52, 12, 12, 44
_HEADING, _LETTER, _KEY_GAP = 36, 8, 24
_SHEET_STYLE: Final = (
    ":root{color:#1f2328}.page{fill:#fff}text{font:14px system-ui,sans-serif;fill:currentColor}"
    ".head{font-size:17px;font-weight:600}.grid{stroke:currentColor;stroke-opacity:.15}"
    "@media(prefers-color-scheme:dark){:root{color:#e6edf3}.page{fill:#0d1117}}"
)
_TICKS: Final = 5
_MOST_POINTS: Final = 400


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        label: what it is.
        x, y: its points.
        low, high: of a band around it, if there is one.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def chart(title: str, x_label: str, curves: Sequence[Curve], levels: Sequence[tuple[str, float]] = ()) -> str:
    """A chart with its key; empty without points.

    Args:
        title: what the vertical axis is.
        x_label: what the horizontal one is.
        curves: of finite numbers.
        levels: named horizontal lines, such as what a baseline reaches.
    """
    curves = [_thinned(curve) for curve in curves if len(curve.x)]
    if not curves:
        return ""
    key = "".join(
        f'<li><svg width="28" height="10" aria-hidden="true"><line x1="0" x2="28" y1="5" y2="5" {_pen(number)}/></svg> '
        f"{escape(curve.label)}</li>"
        for number, curve in enumerate(curves)
    )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{escape(title)}: {escape('; '.join(map(_in_words, curves)))}</title>"
        f"{_marks(x_label, curves, levels, _heights(curves, levels))}</svg>"
        f'<ul class="key">{key}</ul></figure>'
    )


@dataclass(frozen=True)
class Panel:
    """One of several charts side by side, whose curves have the same labels in the same order; see ``chart``."""

    title: str
    x_label: str
    curves: Sequence[Curve]
    levels: Sequence[tuple[str, float]] = ()


def sheet(title: str, panels: Sequence[Panel], columns: int = 2) -> str:
    """Charts with one key and one vertical scale, as an SVG file of its own: dark where its reader is.

    Args:
        title: what all of it shows.
        panels: one or more, of one curve or more each, row by row.
        columns: how many stand side by side.
    """
    places = [(number % columns * _WIDTH, number // columns * (_HEIGHT + _HEADING)) for number in range(len(panels))]
    width, height = _WIDTH * min(columns, len(panels)), places[-1][1] + _HEIGHT + 2 * _HEADING
    heights = [value for panel in panels for value in _heights(panel.curves, panel.levels)]
    drawn = "".join(
        f'<g transform="translate({x} {y})"><text class="head" x="{_LEFT}" y="20">{escape(panel.title)}</text>'
        f'<g transform="translate(0 {_HEADING})">{_marks(panel.x_label, panel.curves, panel.levels, heights)}</g></g>'
        for panel, (x, y) in zip(panels, places, strict=True)
    )
    key, x = "", _LEFT
    for number, curve in enumerate(panels[0].curves):
        key += f'<line x1="{x}" x2="{x + 28}" y1="{height - 16}" y2="{height - 16}" {_pen(number)}/>'
        key += f'<text x="{x + 34}" y="{height - 12}">{escape(curve.label)}</text>'
        x += 34 + _KEY_GAP + _LETTER * len(curve.label)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{_SHEET_STYLE}</style>"
        f'<rect class="page" width="100%" height="100%"/>{drawn}{key}</svg>\n'
    )


def _heights(curves: Sequence[Curve], levels: Sequence[tuple[str, float]]) -> list[float]:
    """What must fit on the vertical axis."""
    return [y for curve in curves for y in (*curve.y, *curve.low, *curve.high)] + [level for _, level in levels]


def _marks(x_label: str, curves: Sequence[Curve], levels: Sequence[tuple[str, float]], heights: Sequence[float]) -> str:
    """What stands within a chart's edges."""
    xs = [value for curve in curves for value in curve.x]
    across, up = _Scale.of(xs, _LEFT, _WIDTH - _RIGHT), _Scale.of(heights, _HEIGHT - _BOTTOM, _TOP)
    marks = [_grid(across, up, x_label)]
    for number, curve in enumerate(curves):
        marks.append(_drawn(curve, number, across, up))
    for name, level in levels:
        y = up.place(level)
        marks.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="currentColor" '
            f'stroke-dasharray="3 4"/><text x="{_WIDTH - _RIGHT}" y="{y - 4}" text-anchor="end">{escape(name)}</text>'
        )
    return "".join(marks)


@dataclass(frozen=True)
class _Scale:
    """From numbers to places."""

    low: float
    high: float
    first: float
    last: float
    step: float

    @classmethod
    def of(cls, values: Sequence[float], first: float, last: float) -> _Scale:
        low, high = min(values), max(values)
        step = _round_step((high - low) or abs(high) or 1.0)
        bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step or step
        return cls(bottom if bottom < top else top - step, top, first, last, step)

    def place(self, value: float) -> float:
        span = (self.high - self.low) or 1.0
        return round(self.first + (self.last - self.first) * (value - self.low) / span, 1)

    @property
    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + self.step * number for number in range(count + 1)]


def _round_step(span: float) -> float:
    rough = span / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)


def _grid(across: _Scale, up: _Scale, x_label: str) -> str:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>'
        for tick in (round(tick, 10) for tick in up.ticks)
        for y in (up.place(tick),)
    ]
    lines += [
        f'<text x="{across.place(tick)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="{anchor}">{round(tick, 10):g}</text>'
        for tick, anchor in zip(across.ticks, [*["middle"] * (len(across.ticks) - 1), "end"], strict=True)
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return "".join([*lines, f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'])


def _drawn(curve: Curve, number: int, across: _Scale, up: _Scale) -> str:
    def points(values: Sequence[float]) -> list[str]:
        return [f"{across.place(x)},{up.place(y)}" for x, y in zip(curve.x, values, strict=True)]

    band = ""
    if curve.low and curve.high:
        around = " ".join(points(curve.low) + points(curve.high)[::-1])
        band = f'<polygon points="{around}" fill="{COLOURS[number % len(COLOURS)]}" fill-opacity="0.18"/>'
    if len(curve.x) == 1:
        x, y = points(curve.y)[0].split(",")
        return f'{band}<circle cx="{x}" cy="{y}" r="4" fill="{COLOURS[number % len(COLOURS)]}"/>'
    return f'{band}<polyline points="{" ".join(points(curve.y))}" fill="none" {_pen(number)}/>'


def _pen(number: int) -> str:
    dash = _DASHES[number // len(COLOURS) % len(_DASHES)]
    return f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2"' + (
        f' stroke-dasharray="{dash}"' if dash else ""
    )


def _in_words(curve: Curve) -> str:
    return f"{curve.label} from {curve.y[0]:.3g} to {curve.y[-1]:.3g}"


def _thinned(curve: Curve) -> Curve:
    """Not more points than a screen has pixels to show."""
    step = -(-len(curve.x) // _MOST_POINTS)
    if step == 1:
        return curve
    kept = sorted({*range(0, len(curve.x), step), len(curve.x) - 1})

    def some(values: Sequence[float]) -> list[float]:
        return [values[place] for place in kept] if values else []

    return Curve(curve.label, some(curve.x), some(curve.y), some(curve.low), some(curve.high))
