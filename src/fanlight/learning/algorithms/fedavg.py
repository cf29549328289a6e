"""Federated averaging: the next model is the old one plus the mean update (McMahan et al. 1602.05629, algorithm 1).

    w⁺ = w + Σ n_k (w_k - w) / Σ n_k

With weights n_k this equals averaging the devices' models, because the weights sum to 1. The server's learning rate
of Reddi et al. (2003.00295, algorithm 1) is 1.

State: none on devices, the model on the server. Composes: the mean is all it asks of the sum.
"""

from __future__ import annotations

import numpy as np

from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, State, first, mean_update
from fanlight.learning.algorithms.recipe import Recipe


def apply(state: State, gathered: Gathered) -> State:
    """The state after one more round; ``state`` is not changed.

    Raises:
        ModelError: the update has another length, or the outcome is not finite.
    """
    with np.errstate(over="ignore"):  # ``moved`` looks at the outcome
        return state.moved(state.parameters + mean_update(state, gathered))


FEDAVG = Algorithm(first, apply)

RECIPE = Recipe(
    name="fedavg",
    title="FedAvg",
    summary="The mean of the devices' models, by their numbers of pictures.",
    paper="McMahan et al. 2017, 1602.05629",
    on_device="",
    on_server="",
    composes="yes: it asks only for the mean",
    make=lambda: FEDAVG,
)
