"""Noise: a random direction, many times as long as an honest update (Blanchard et al. 1703.02757, section 6).

u' ~ N(0, (γ ‖ū‖)²/d · I),    so ‖u'‖ ≈ γ ‖ū‖,  ū the mean of the attackers' honest updates
"""

from __future__ import annotations

import math

import numpy as np

from fanlight.learning.algorithms.recipe import Parameter
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Updates


def noise(factor: float = 10.0) -> Attack:
    """The attack with γ = ``factor``."""

    def craft(honest: Updates, _devices: int, chance: Chance) -> Updates:
        length = factor * float(np.linalg.norm(honest.mean(axis=0)))
        drawn: Updates = chance.normals(honest.size).reshape(honest.shape)
        drawn *= length / math.sqrt(honest.shape[1])
        return drawn

    return Attack(craft)


RECIPE = AttackRecipe(
    name="noise",
    title="Noise",
    summary="Sends a random direction, longer than an honest update.",
    paper="Blanchard et al. 2017, 1703.02757",
    stopped_by="the clip bounds it; all four middles while fewer shards are bad than they stand",
    make=noise,
    parameters=(Parameter("factor", "Factor", "how much longer than an honest update", 10.0, 0.0, 1000.0),),
)
