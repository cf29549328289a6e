"""Min-Max: as far from the mean as the honest updates are from one another, and no further.

Shejwalkar and Houmansadr, NDSS 2021, section IV-C, with the inverse standard deviation as perturbation (their ∇ᵖ std);
attackers know their own honest updates u₁ … uₘ only. All send

    u' = μ - γ σ,    γ the largest with  maxᵢ ‖u' - uᵢ‖ ≤ maxᵢⱼ ‖uᵢ - uⱼ‖

The paper searches for γ by halving steps. Each of the m bounds is a quadratic in γ, so here it is solved: with
vᵢ = μ - uᵢ and D the largest distance, γ²‖σ‖² - 2γ⟨σ, vᵢ⟩ + ‖vᵢ‖² - D² = 0. As ‖vᵢ‖ ≤ D, its roots are real and one
is not negative; γ is the least of those.
"""

from __future__ import annotations

import numpy as np

from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Updates


def min_max() -> Attack:
    """The attack; it has no parameters. An attacker who is alone has nothing to go by, and sends what it learned."""

    def craft(honest: Updates, _devices: int, _chance: Chance) -> Updates:
        mean, deviation = honest.mean(axis=0), honest.std(axis=0)
        return np.tile(mean - greatest_gamma(honest) * deviation, (len(honest), 1))

    return Attack(craft)


def greatest_gamma(honest: Updates) -> float:
    """γ of updates (m, d); 0 if they are all the same."""
    mean, deviation = honest.mean(axis=0), honest.std(axis=0)
    a = float(deviation @ deviation)
    if a == 0.0:
        return 0.0
    farthest = max(float(((honest - each) ** 2).sum(axis=1).max()) for each in honest)
    away = mean - honest
    b = away @ deviation
    c = (away**2).sum(axis=1) - farthest
    roots = (b + np.sqrt(np.maximum(b * b - a * c, 0.0))) / a
    return max(0.0, float(roots.min()))


RECIPE = AttackRecipe(
    name="min-max",
    title="Min-Max",
    summary="All attackers stand as far from the mean as honest updates are from one another.",
    paper="Shejwalkar and Houmansadr 2021, NDSS",
    stopped_by="none wholly: it is made to pass; the middles keep it within the spread of the honest",
    make=min_max,
)
