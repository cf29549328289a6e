"""The attacks by name, and who attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import SettingsError
from fanlight.simulation.attacks import (
    backdoor,
    inner_product,
    label_flip,
    little_is_enough,
    min_max,
    noise,
    scaling,
    sign_flip,
)
from fanlight.simulation.attacks.attack import Attack, AttackRecipe
from fanlight.simulation.seeds import chance
from fanlight.simulation.specs import terms_of

_MODULES = (sign_flip, scaling, noise, label_flip, backdoor, little_is_enough, min_max, inner_product)

ATTACKS: Final[Mapping[str, AttackRecipe]] = MappingProxyType(
    {module.RECIPE.name: module.RECIPE for module in _MODULES}
)
"""All there are, the simplest first."""


@dataclass(frozen=True)
class Planned:
    """An attack as a study says it: ``sign-flip:0.2,factor=3``, a name, the share of the devices, parameters.

    Attributes:
        recipe: which one.
        attack: the same, with its parameters.
        share: of the devices, 0 to 1.
    """

    recipe: AttackRecipe
    attack: Attack
    share: float

    def attackers(self, devices: int, seed: int) -> NDArray[np.bool_]:
        """(devices,) who attacks: ``share`` of them, rounded, drawn by lot."""
        found = np.zeros(devices, np.bool_)
        found[chance(seed, "attackers").shuffled(np.arange(devices))[: round(self.share * devices)]] = True
        return found


def planned(line: str) -> Planned | None:
    """The attack that a line describes; None of an empty one.

    Raises:
        SettingsError: there is no such attack, or it does not take what is given.
    """
    if not line.strip():
        return None
    terms = terms_of("attack", line, ATTACKS)
    if len(terms) > 1:
        raise SettingsError(f"attack: {terms[0]} and {terms[1]} at once.", next="Keep one of them.")
    term, recipe = terms[0], ATTACKS[terms[0].name]
    example = f"{term.name}:0.2" + "".join(f",{each.name}={each.default:g}" for each in recipe.parameters[:1])
    term.takes(example, *(each.name for each in recipe.parameters), value=True)
    share = term.number(example, low=0, high=1)
    values = {
        each.name: term.of(each.name, example, low=each.low, high=each.high, default=each.default)
        for each in recipe.parameters
    }
    for each in recipe.parameters:
        flaw = each.flaw(values[each.name])
        if flaw:
            raise term.flaw(f"does not take this {each.name}: {flaw.rstrip('.')}", example)
    return Planned(recipe, recipe.make(**values), share)
