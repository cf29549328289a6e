"""FedAdam: Adam on the server (Reddi et al. 2003.00295, algorithm 2); what is not here stands in ``adaptive``.

    v⁺ = β₂ v + (1 - β₂) Δ²

State: m and v on the server. Composes: the mean is all it asks of the sum. With β₁ = 0, β₂ = 1 and η = 2τ it is FedAvg,
because then v stays τ².
"""

from __future__ import annotations

from fanlight.learning.algorithms.adaptive import BETA1, BETA2, LEARNING_RATE, TAU, adaptive
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.recipe import Recipe


def fedadam(learning_rate: float, beta1: float, beta2: float, tau: float) -> Algorithm:
    """The algorithm: η, β₁, β₂ (0 to 1) and τ as in ``adaptive``."""
    return adaptive(learning_rate, beta1, tau, lambda sizes, squares: beta2 * sizes + (1 - beta2) * squares)


RECIPE = Recipe(
    name="fedadam",
    title="FedAdam",
    summary="Adam on the server: a step length of its own for each number of the model.",
    paper="Reddi et al. 2021, 2003.00295",
    on_device="",
    on_server="mean and sizes of updates",
    composes="yes: it asks only for the mean",
    make=fedadam,
    parameters=(LEARNING_RATE, BETA1, BETA2, TAU),
)
