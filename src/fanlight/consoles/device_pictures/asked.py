"""Which pictures an address asks for, and where one stands among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import Depends, Query

from fanlight.consoles.device_learning import TAKEN_FOR
from fanlight.services.device.library.records import Filter, Problem, State
from fanlight.services.device.try_it import Measured

PICTURES: Final = "/pictures"


@dataclass(frozen=True)
class Cell:
    """A cell of a model's confusion matrix: pictures of one class, named as one; by the classes' positions."""

    which: Measured
    shows: int
    named: int

    @property
    def href(self) -> str:
        """The address of its pictures."""
        return f"{TAKEN_FOR}?{urlencode({'model': self.which, 'shows': self.shows, 'named': self.named})}"

    def __str__(self) -> str:
        return f"{self.which}-{self.shows}-{self.named}"


@dataclass(frozen=True)
class Asked:
    """Some of the pictures.

    Attributes:
        filter: which.
        page: of the gallery, from 1.
        cell: those behind it, instead of those that the filter lets through.
    """

    filter: Filter
    page: int = 1
    cell: Cell | None = None

    def query(self, **changes: object) -> str:
        """What follows the path in the address of this view, or of one that differs from it."""
        shown = {"state": self.filter.state, "label": self.filter.label, "problem": self.filter.problem}
        values = {**shown, "page": self.page if self.page > 1 else None, "cell": self.cell, **changes}
        query = urlencode([(name, str(value)) for name, value in values.items() if value is not None])
        return f"?{query}" if query else ""

    def href(self, **changes: object) -> str:
        """The address of all of them, or of a view that differs from this one."""
        return self.cell.href if self.cell else f"{PICTURES}{self.query(**changes)}"

    def picture(self, sha256: str, **more: object) -> str:
        """The address of one of them."""
        return f"{PICTURES}/{sha256}{self.query(**more)}"


def asked(
    state: State | None = None,
    label: Annotated[str | None, Query(max_length=20_000)] = None,
    problem: Problem | None = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    cell: Annotated[str | None, Query(pattern=r"^(own|global)-\d{1,4}-\d{1,4}$")] = None,
) -> Asked:
    """What the address says."""
    return Asked(Filter(state, label or None, problem), page, _cell(cell) if cell else None)


def _cell(text: str) -> Cell:
    which, shows, named = text.split("-")
    return Cell("own" if which == "own" else "global", int(shows), int(named))


View = Annotated[Asked, Depends(asked)]
