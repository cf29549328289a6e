"""The algorithms by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fanlight.errors import SettingsError
from fanlight.learning.algorithms import (
    ditto,
    fedadagrad,
    fedadam,
    fedavg,
    fedavgm,
    fedbn,
    fedbuff,
    feddyn,
    fednova,
    fedper,
    fedprox,
    fedrep,
    fedyogi,
    scaffold,
)
from fanlight.learning.algorithms.recipe import Recipe

_MODULES = (
    fedavg,
    fedavgm,
    fedprox,
    fedadam,
    fedyogi,
    fedadagrad,
    scaffold,
    fednova,
    feddyn,
    ditto,
    fedper,
    fedrep,
    fedbn,
    fedbuff,
)

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({module.RECIPE.name: module.RECIPE for module in _MODULES})
"""All there are, the simplest first."""


def recipe(name: str) -> Recipe:
    """The algorithm of this name.

    Raises:
        SettingsError: there is none; lists those that there are.
    """
    found = RECIPES.get(name)
    if found is None:
        known = ", ".join(known.name for known in RECIPES.values() if not known.why_not)
        raise SettingsError(f"There is no algorithm {name!r}.", next=f"Choose one of {known}.", slug="no-algorithm")
    return found
