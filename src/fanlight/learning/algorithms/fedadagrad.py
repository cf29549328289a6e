"""FedAdagrad: Adagrad on the server (Reddi et al. 2003.00295, algorithm 2); what is not here stands in ``adaptive``.

    v⁺ = v + Δ²

Steps only ever get shorter. The paper's experiments have β₁ = 0.

State: m and v on the server. Composes: the mean is all it asks of the sum. With β₁ = 0 and η = 2τ it tends to FedAvg as
τ grows, because then v hardly leaves τ².
"""

from __future__ import annotations

from dataclasses import replace

from fanlight.learning.algorithms.adaptive import BETA1, LEARNING_RATE, TAU, adaptive
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.recipe import Recipe


def fedadagrad(learning_rate: float, beta1: float, tau: float) -> Algorithm:
    """The algorithm: η, β₁ and τ as in ``adaptive``."""
    return adaptive(learning_rate, beta1, tau, lambda sizes, squares: sizes + squares)


RECIPE = Recipe(
    name="fedadagrad",
    title="FedAdagrad",
    summary="Adagrad on the server: steps that only get shorter, least where the model has moved most.",
    paper="Reddi et al. 2021, 2003.00295",
    on_device="",
    on_server="mean and sizes of updates",
    composes="yes: it asks only for the mean",
    make=fedadagrad,
    parameters=(LEARNING_RATE, replace(BETA1, default=0.0), TAU),
)
