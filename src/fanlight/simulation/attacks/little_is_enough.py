"""A little is enough: so near the honest ones that it passes for one of them, all on one side of their mean.

Baruch et al. 1902.06156, algorithm 3. With μ and σ the mean and the standard deviation of each coordinate over the
attackers' honest updates, of n devices m attackers, all send

    u' = μ - z σ,    z = Φ⁻¹((n - m - s)/(n - m)),    s = ⌊n/2 + 1⌋ - m

s honest devices are expected to be further from the mean than the attackers; together they are a majority, so a median
takes the attackers' side. With few attackers z is near 0 and little is lost; it is 0 at least.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np

from fanlight.learning.algorithms.recipe import Parameter
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Updates

_ALMOST_ALL: Final = 0.999


def little_is_enough(z: float = 0.0) -> Attack:
    """The attack with this z; 0 = by the number of attackers in the round."""

    def craft(honest: Updates, devices: int, _chance: Chance) -> Updates:
        away = z or greatest_z(devices, len(honest))
        return np.tile(honest.mean(axis=0) - away * honest.std(axis=0), (len(honest), 1))

    return Attack(craft)


def greatest_z(devices: int, attackers: int) -> float:
    """z of n devices, m of them attackers, m < n; with a majority of attackers nothing holds them back but 3.1."""
    honest = devices - attackers
    needed = devices // 2 + 1 - attackers
    quantile = (honest - needed) / honest if honest > 0 else _ALMOST_ALL
    return max(0.0, NormalDist().inv_cdf(min(quantile, _ALMOST_ALL))) if quantile > 0 else 0.0


RECIPE = AttackRecipe(
    name="lie",
    title="A little is enough (LIE)",
    summary="All attackers stand a little beside the mean of the honest, where nobody looks odd.",
    paper="Baruch et al. 2019, 1902.06156",
    stopped_by="none wholly: it is made to pass; it moves a middle by z standard deviations at most",
    make=little_is_enough,
    parameters=(Parameter("z", "z", "standard deviations from the mean; 0 = what passes", 0.0, 0.0, 100.0),),
)
