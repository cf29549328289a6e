"""Scaling: what was learned, many times over, so that one device outweighs all (Bagdasaryan et al. 1807.00459, eq. 3).

    u' = γ u

With γ = n of n devices, and nothing clipped, the mean is moved to about the attacker's own model (model replacement).
"""

from __future__ import annotations

from fanlight.learning.algorithms.recipe import Parameter
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Updates

FACTOR = Parameter("factor", "Factor", "how much longer than an honest update", 10.0, 0.0, 1000.0)


def scaling(factor: float = FACTOR.default) -> Attack:
    """The attack with γ = ``factor``."""

    def craft(honest: Updates, _devices: int, _chance: Chance) -> Updates:
        return factor * honest

    return Attack(craft)


RECIPE = AttackRecipe(
    name="scaling",
    title="Scaling",
    summary="Sends what was learned, many times over.",
    paper="Bagdasaryan et al. 2020, 1807.00459",
    stopped_by="the clip bounds it; all four middles while fewer shards are bad than they stand",
    make=scaling,
    parameters=(FACTOR,),
)
