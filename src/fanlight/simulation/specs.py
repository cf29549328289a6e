"""How a study is told, in one line a subject: who has what, in which world, attacked by whom.

    dirichlet:0.5+rotation:30          diurnal:8+speeds:mixed+deadline:600          sign-flip:0.2,factor=3

Terms are joined by ``+``; a term is a name, then after ``:`` a value, parameters ``name=value``, or both, separated by
commas. The same line stands in a study's TOML file and behind a flag, and comes back from ``str``. A term that takes a
path takes all that follows its colon, and is the last.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from fanlight.errors import SettingsError

_MOST_LETTERS: Final = 4096


@dataclass(frozen=True)
class Term:
    """One term of a line.

    Attributes:
        subject: what the line is about, for errors: ``partition``, ``world``, ``attack``.
        name: of the term, lower case.
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


def terms_of(subject: str, line: str, names: Collection[str], paths: Collection[str] = ()) -> tuple[Term, ...]:
    """The terms of a line, one or more, each of another name.

    Args:
        subject: what the line is about, for errors.
        line: as a person wrote it, at most 4,096 letters.
        names: the terms that there are.
        paths: those of them that take a path.

    Raises:
        SettingsError: an empty, unknown or repeated term, or one that is not of the form above.
    """
    if len(line) > _MOST_LETTERS:
        raise SettingsError(f"{subject}: a line of {len(line)} letters is too long.", next="Write less than 4,096.")
    known = f"Choose one of {', '.join(names)}; join several with +."
    terms: list[Term] = []
    rest = line.strip()
    while rest or not terms:
        head, colon, told = rest.partition(":")
        name = head.partition("+")[0].strip().lower()
        if name not in names:
            raise SettingsError(f"{subject}: there is no {name!r} (in {line!r}).", next=known, slug=f"no-{subject}")
        if name in {term.name for term in terms}:
            raise SettingsError(f"{subject}: {name!r} is there twice (in {line!r}).", next=known)
        if name in paths and colon and "+" not in head:
            terms.append(Term(subject, name, told.strip()))
            break
        this, plus, rest = rest.partition("+")
        rest = rest.strip()
        if plus and not rest:
            raise SettingsError(f"{subject}: nothing follows the last + (in {line!r}).", next=known)
        terms.append(_term(subject, name, this.partition(":")[2]))
    return tuple(terms)


def _term(subject: str, name: str, told: str) -> Term:
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
