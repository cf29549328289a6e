"""Inner product manipulation: the mean of all points away from where the honest want to go.

Xie et al. 1903.03936, section 4. With μ the mean of the attackers' honest updates, all send

    u' = -ε μ

Of n devices m attackers, the mean of all is ((n - m) - mε)/n of the honest one: its inner product with the honest
mean is negative for ε > (n - m)/m. A small ε keeps attackers so near the origin that Krum may choose them.
"""

from __future__ import annotations

import numpy as np

from fanlight.learning.algorithms.recipe import Parameter
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Updates


def inner_product(epsilon: float = 10.0) -> Attack:
    """The attack with this ε."""

    def craft(honest: Updates, _devices: int, _chance: Chance) -> Updates:
        return np.tile(-epsilon * honest.mean(axis=0), (len(honest), 1))

    return Attack(craft)


RECIPE = AttackRecipe(
    name="ipm",
    title="Inner product manipulation (IPM)",
    summary="All attackers send the same step back.",
    paper="Xie et al. 2019, 1903.03936",
    stopped_by="all four middles while fewer shards are bad than they stand; with a small ε, not Krum",
    make=inner_product,
    parameters=(Parameter("epsilon", "ε", "how much longer than an honest update", 10.0, 0.0, 1000.0),),
)
