"""An algorithm as a person writes it, with its parameters: ``fedadam:learning_rate=0.03,combine=median``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from fanlight.core.terms import term_of
from fanlight.errors import SettingsError

_COMBINE: Final = "combine"


class Written(NamedTuple):
    """What was written; neither names nor numbers are known to be right.

    Attributes:
        name: of the algorithm.
        parameters: by name.
        combine: how shards become one; None: nothing was said.
    """

    name: str
    parameters: Mapping[str, float]
    combine: str | None


def read_algorithm(subject: str, line: str) -> Written:
    """The algorithm that a line names; ``subject`` is what it is called in errors.

    Raises:
        SettingsError: it is not of that form.
    """
    term = term_of(subject, line)
    flaw = f"is not of the form PARAMETER=NUMBER, or {_COMBINE}=WORD"
    example = "Write it like: fedadam:learning_rate=0.03,tau=0.01"
    if term.value:
        raise SettingsError(f"{subject}: {term.value!r} {flaw}.", next=example)
    parameters: dict[str, float] = {}
    for name, value in term.parameters.items():
        if name == _COMBINE:
            continue
        try:
            parameters[name] = float(value)
        except ValueError as error:
            raise SettingsError(f"{subject}: {name + '=' + value!r} {flaw}.", next=example) from error
    return Written(term.name, parameters, term.parameters.get(_COMBINE))
