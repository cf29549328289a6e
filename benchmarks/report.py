"""What a benchmark found: figures with their limits, as a table for people or as one JSON line for programs.

A *limit* is a promise of the project: a figure without one is there to be read. A *rival* is the same quantity measured
on something else (another program, another way of doing it); the *ratio* is ours divided by the rival's.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HEADINGS = ("figure", "value", "unit", "limit", "rival", "ratio", "")


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    Attributes:
        name: what was measured.
        value: how much; a value that is not finite breaks every limit.
        unit: of value, limit and rival.
        at_least: the least value that keeps the promise, if it is one.
        at_most: the greatest, if that is the promise.
        rival: the same quantity of something else, in the same unit.

    Raises:
        ValueError: both limits at once.
    """

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    rival: float | None = None

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_most is not None:
            raise ValueError(f"{self.name}: a figure has one limit")

    @property
    def limit(self) -> float | None:
        """The limit, whichever side it is on."""
        return self.at_least if self.at_least is not None else self.at_most

    @property
    def ratio(self) -> float | None:
        """Ours divided by the rival's; None without a rival, or where the division says nothing."""
        if not self.rival or not math.isfinite(self.value / self.rival):
            return None
        return self.value / self.rival

    @property
    def ok(self) -> bool:
        """Whether the promise is kept; true where nothing is promised."""
        if self.at_least is not None:
            return math.isfinite(self.value) and self.value >= self.at_least
        if self.at_most is not None:
            return math.isfinite(self.value) and self.value <= self.at_most
        return True

    def as_json(self) -> dict[str, Any]:
        """As in the JSON line; JSON knows no NaN, so what is not finite is null."""
        return {
            "name": self.name,
            "value": _finite(self.value),
            "unit": self.unit,
            "limit": self.limit,
            "rival": None if self.rival is None else _finite(self.rival),
            "ratio": self.ratio,
            "ok": self.ok,
        }


def say(figure: Figure) -> Figure:
    """Print a figure to stderr as soon as it is found, since the next one may take a while; it is returned."""
    print(f"{figure.name}: {figure.value:.4g} {figure.unit}", file=sys.stderr, flush=True)
    return figure


@dataclass(frozen=True)
class Report:
    """All figures of one run of a benchmark."""

    benchmark: str
    figures: tuple[Figure, ...]

    @property
    def ok(self) -> bool:
        """Whether every promise is kept."""
        return all(figure.ok for figure in self.figures)

    def table(self) -> str:
        """The figures in aligned columns."""
        rows = [_HEADINGS, *(_cells(figure) for figure in self.figures)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        return "\n".join("  ".join(_align(row, widths)).rstrip() for row in rows)

    def json_line(self) -> str:
        """``{"benchmark", "figures"}`` on one line."""
        figures = [figure.as_json() for figure in self.figures]
        return json.dumps({"benchmark": self.benchmark, "figures": figures}, ensure_ascii=False, allow_nan=False)

    def show(self, *, as_json: bool) -> int:
        """Print the table and, if asked for, the JSON line last; return the exit code, 1 where a limit is broken."""
        print(self.table())
        if as_json:
            print(self.json_line(), flush=True)
        return 0 if self.ok else 1


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cells(figure: Figure) -> tuple[str, ...]:
    limit = "" if figure.limit is None else f"{'>=' if figure.at_least is not None else '<='} {_number(figure.limit)}"
    verdict = "" if figure.limit is None else "ok" if figure.ok else "FAILS"
    numbers = (figure.rival, figure.ratio)
    return (figure.name, _number(figure.value), figure.unit, limit, *(_number(number) for number in numbers), verdict)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _align(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Words to the left, numbers to the right."""
    numeric = (1, 3, 4, 5)
    return [
        cell.rjust(width) if column in numeric else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
