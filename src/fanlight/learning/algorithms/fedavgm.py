"""FedAvg with momentum on the server (Hsu, Qi, Brown 1909.06335, section 4.3).

    v⁺ = β v + Δ          Δ: the mean update
    w⁺ = w + η v⁺

Devices that differ pull the model to and fro from round to round; the momentum keeps what they agree on. Of n rounds
with the same Δ the last moves the model by η (1 - βⁿ) / (1 - β) Δ: with η = 1 - β by nearly Δ once n is several times
1 / (1 - β), and less before.

State: v on the server. Composes: the mean is all it asks of the sum. β = 0 and η = 1 are FedAvg.
"""

from __future__ import annotations

from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, State, first, mean_update
from fanlight.learning.algorithms.recipe import Parameter, Recipe


def fedavgm(beta: float, learning_rate: float) -> Algorithm:
    """The algorithm.

    Args:
        beta: β, 0 to below 1.
        learning_rate: η, above 0.
    """

    def apply(state: State, gathered: Gathered) -> State:
        momentum = beta * state.memory["momentum"] + mean_update(state, gathered)
        return state.moved(state.parameters + learning_rate * momentum, momentum=momentum)

    return Algorithm(lambda parameters: first(parameters, "momentum"), apply)


RECIPE = Recipe(
    name="fedavgm",
    title="FedAvgM",
    summary="FedAvg with momentum on the server: steadier where devices differ.",
    paper="Hsu et al. 2019, 1909.06335",
    on_device="",
    on_server="momentum",
    composes="yes: it asks only for the mean",
    make=fedavgm,
    parameters=(
        Parameter("beta", "Momentum β", "how much of the last rounds' movement goes on", 0.9, 0.0, 0.999),
        Parameter(
            "learning_rate",
            "Learning rate η",
            "of the server; 1 - β has the pace of FedAvg in the long run, and is slower in the first rounds",
            0.1,
            1e-6,
            10.0,
        ),
    ),
)
