"""Sign flip: the opposite of what was learned (Li et al. 1811.03761, section 5; RSA).

    u' = -γ u

With γ = 1 an update is no longer than an honest one; a share m/n of such devices leaves (1 - 2m/n) of the mean.
"""

from __future__ import annotations

from fanlight.learning.algorithms.recipe import Parameter
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Updates


def sign_flip(factor: float = 1.0) -> Attack:
    """The attack with γ = ``factor``."""

    def craft(honest: Updates, _devices: int, _chance: Chance) -> Updates:
        return -factor * honest

    return Attack(craft)


RECIPE = AttackRecipe(
    name="sign-flip",
    title="Sign flip",
    summary="Sends the opposite of what was learned.",
    paper="Li et al. 2019, 1811.03761",
    stopped_by="all four middles while fewer shards are bad than they stand",
    make=sign_flip,
    parameters=(Parameter("factor", "Factor", "how much longer than an honest update", 1.0, 0.0, 1000.0),),
)
