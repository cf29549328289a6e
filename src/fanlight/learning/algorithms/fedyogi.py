"""FedYogi: Yogi on the server (Reddi et al. 2003.00295, algorithm 2); what is not here stands in ``adaptive``.

    v⁺ = v - (1 - β₂) Δ² sign(v - Δ²)

Sizes grow as fast as FedAdam's at most, and shrink by (1 - β₂) Δ² instead of (1 - β₂)(v - Δ²): a few quiet rounds do
not make the steps long.

State: m and v on the server. Composes: the mean is all it asks of the sum. With β₁ = 0, β₂ = 1 and η = 2τ it is FedAvg.
"""

from __future__ import annotations

import numpy as np

from fanlight.learning.algorithms.adaptive import BETA1, BETA2, LEARNING_RATE, TAU, adaptive
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.recipe import Recipe


def fedyogi(learning_rate: float, beta1: float, beta2: float, tau: float) -> Algorithm:
    """The algorithm: η, β₁, β₂ (0 to 1) and τ as in ``adaptive``."""
    return adaptive(
        learning_rate, beta1, tau, lambda sizes, squares: sizes - (1 - beta2) * squares * np.sign(sizes - squares)
    )


RECIPE = Recipe(
    name="fedyogi",
    title="FedYogi",
    summary="As FedAdam, but its steps grow more slowly after quiet rounds.",
    paper="Reddi et al. 2021, 2003.00295",
    on_device="",
    on_server="mean and sizes of updates",
    composes="yes: it asks only for the mean",
    make=fedyogi,
    parameters=(LEARNING_RATE, BETA1, BETA2, TAU),
)
