"""How an algorithm is described: for the registry, the page on which it is chosen, and the documentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fanlight.errors import SettingsError
from fanlight.learning.algorithms.algorithm import Algorithm

MICRO = 1_000_000


@dataclass(frozen=True)
class Parameter:
    """A number that an algorithm takes, in millionths at the finest (so it travels as an integer).

    Attributes:
        name: of the argument. label, meaning: in words.
        default, low, high: of its value.
        whole: is it a whole number?
    """

    name: str
    label: str
    meaning: str
    default: float
    low: float
    high: float
    whole: bool = False

    def flaw(self, value: object) -> str:
        """What is wrong with a value, in a sentence; empty if nothing is."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"This is no number: {str(value)[:40]!r}."
        if not self.low <= value <= self.high:
            return f"From {self.low:g} to {self.high:g}, not {value:g}."
        if self.whole and value != int(value):
            return f"A whole number, not {value:g}."
        return ""


@dataclass(frozen=True)
class Recipe:
    """An algorithm whose parameters are still open.

    Attributes:
        name: in a task, lower case. title: as people write it.
        summary: what it is for, in a sentence.
        paper: authors, year, arXiv number.
        on_device, on_server: what each remembers from round to round; empty = nothing.
        composes: how it goes with the secure sum.
        make: the algorithm, of values for ``parameters``.
        why_not: why a task cannot choose it; empty = it can.
    """

    name: str
    title: str
    summary: str
    paper: str
    on_device: str
    on_server: str
    composes: str
    make: Callable[..., Algorithm]
    parameters: tuple[Parameter, ...] = ()
    why_not: str = ""

    def flaws(self, values: Mapping[str, object]) -> dict[str, str]:
        """What is wrong with values for the parameters, by name, in sentences; empty if nothing is."""
        known = {parameter.name: parameter for parameter in self.parameters}
        takes = f"{self.title} takes {', '.join(known) or 'no parameters'}."
        unknown = {name: f"{self.title} has no {name!r}. {takes}" for name in values if name not in known}
        found = {name: known[name].flaw(value) for name, value in values.items() if name in known}
        return unknown | {name: flaw for name, flaw in found.items() if flaw}

    def filled(self, values: Mapping[str, float]) -> dict[str, float]:
        """All parameters, with the defaults of those that are not among ``values``, rounded to millionths.

        Raises:
            SettingsError: see ``flaws``.
        """
        for name, flaw in self.flaws(values).items():
            raise SettingsError(f"{name}: {flaw}", next="docs/algorithms.md lists what each algorithm takes.")
        both = {parameter.name: values.get(parameter.name, parameter.default) for parameter in self.parameters}
        return {name: round(value * MICRO) / MICRO for name, value in both.items()}

    def of(self, values: Mapping[str, float]) -> Algorithm:
        """The algorithm with these values; errors as in ``filled``."""
        return self.make(**self.filled(values))
