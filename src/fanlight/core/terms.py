"""A choice as a person writes it in one line, behind a flag or in a study's file.

    fedprox:mu=0.5,combine=median          dirichlet:0.5          sign-flip:0.2,factor=3

A term is a name, then after ``:`` a value, parameters ``name=value``, or both, separated by commas; spaces around words
do not count. What it names is for whoever asked; several in one line are the simulation's (``simulation.specs``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fanlight.errors import SettingsError


@dataclass(frozen=True)
class Term:
    """One term of a line.

    Attributes:
        subject: what the line is about, for errors: ``partition``, ``world``, ``--algorithm``.
        name: of the term.
        value: what stands behind the colon without a name; empty = nothing.
        parameters: what stands there with one, by name.
    """

    subject: str
    name: str
    value: str = ""
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def number(self, example: str, *, low: float, high: float = math.inf, default: float | None = None) -> float:
        """The value as a number in [low, high]; errors as in ``of``."""
        return self._number("", self.value, example, low, high, default)

    def whole(self, example: str, *, low: int, high: int = 1_000_000, default: int | None = None) -> int:
        """The value as a whole number in [low, high]; errors as in ``of``."""
        number = self.number(example, low=low, high=high, default=default)
        if number != int(number):
            raise self.flaw(f"takes a whole number, not {self.value}", example)
        return int(number)

    def of(
        self, parameter: str, example: str, *, low: float, high: float = math.inf, default: float | None = None
    ) -> float:
        """A parameter as a number in [low, high].

        Args:
            parameter: its name.
            example: a right term, for the error.
            low, high: bounds; ``high`` of infinity means finite.
            default: if it is not given; None = it must be.

        Raises:
            SettingsError: it is missing, no number, or out of range.
        """
        return self._number(f"{parameter}=", self.parameters.get(parameter, ""), example, low, high, default)

    def _number(self, what: str, text: str, example: str, low: float, high: float, default: float | None) -> float:
        if not text and default is not None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (low <= number <= high and math.isfinite(number)):
            bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
            raise self.flaw(f"takes {what}NUMBER {bounds}, not {text!r}", example)
        return number

    def takes(self, example: str, *parameters: str, value: bool) -> None:
        """Check what is given.

        Args:
            example: a right term, for the error.
            parameters: the names that it knows.
            value: may there be a value?

        Raises:
            SettingsError: there is something else.
        """
        unknown = self.parameters.keys() - set(parameters)
        if unknown:
            raise self.flaw(f"does not know {min(unknown)!r}", example)
        if self.value and not value:
            raise self.flaw(f"takes no {self.value!r}", example)

    def flaw(self, what: str, example: str) -> SettingsError:
        """The error for this term: ``what`` is wrong with it."""
        return SettingsError(f"{self.subject}: {self.name!r} {what}.", next=f"Write it like: {example}")

    def __str__(self) -> str:
        told = [self.value] if self.value else []
        told += [f"{name}={value}" for name, value in self.parameters.items()]
        return f"{self.name}:{','.join(told)}" if told else self.name


def term_of(subject: str, text: str) -> Term:
    """The term that ``text`` is; whether there is one of its name is not asked.

    Args:
        subject: what it is about, for errors.
        text: as a person wrote it.

    Raises:
        SettingsError: two values, or a parameter twice.
    """
    name, _, told = text.partition(":")
    name = name.strip()
    values: list[str] = []
    parameters: dict[str, str] = {}
    for each in filter(None, (part.strip() for part in told.split(","))):
        parameter, equals, value = (word.strip() for word in each.partition("="))
        if equals and parameter not in parameters:
            parameters[parameter] = value
        elif equals:
            raise SettingsError(f"{subject}: {name!r} has {parameter!r} twice.", next="Say it once.")
        else:
            values.append(each)
    if len(values) > 1:
        raise SettingsError(
            f"{subject}: {name!r} has two values, {values[0]!r} and {values[1]!r}.",
            next="Give one, and parameters as NAME=VALUE.",
        )
    return Term(subject, name, values[0] if values else "", MappingProxyType(parameters))
