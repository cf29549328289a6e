"""What FedAdagrad, FedAdam and FedYogi share (Reddi et al. 2003.00295, algorithm 2, FedOpt).

    m⁺ = β₁ m + (1 - β₁) Δ          Δ: the mean update
    v⁺ = as each of them has it     v starts at τ²
    w⁺ = w + η m⁺ / (√v⁺ + τ)

All operations are coordinate by coordinate. As in the paper there is no bias correction, and τ stands outside the root:
it says how small an update is that still moves the model by less than η.

The defaults of η and τ were measured on the heads of this project: docs/algorithms.md, ``benchmarks/algorithms.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from fanlight.learning.algorithms.algorithm import (
    Algorithm,
    Gathered,
    State,
    Vector,
    first,
    frozen_vector,
    mean_update,
)
from fanlight.learning.algorithms.recipe import Parameter

LEARNING_RATE = Parameter("learning_rate", "Learning rate η", "of the server", 0.01, 1e-6, 10.0)
BETA1 = Parameter("beta1", "Momentum β₁", "how much of the last rounds' direction goes on", 0.9, 0.0, 0.999)
BETA2 = Parameter("beta2", "Memory of sizes β₂", "how slowly the sizes of updates are forgotten", 0.99, 0.0, 1.0)
TAU = Parameter("tau", "Adaptivity τ", "updates far smaller than it move the model little", 0.0001, 1e-6, 10.0)


def adaptive(
    learning_rate: float, beta1: float, tau: float, second_moment: Callable[[Vector, Vector], Vector]
) -> Algorithm:
    """The algorithm whose v⁺ is ``second_moment(v, Δ²)``.

    Args:
        learning_rate: η, above 0.
        beta1: β₁, 0 to below 1.
        tau: τ, above 0.
        second_moment: never negative.
    """

    def init(parameters: ArrayLike) -> State:
        start = first(parameters, "mean")
        sizes = frozen_vector("sizes", np.full(start.parameters.size, tau**2))
        return State(start.parameters, MappingProxyType({**start.memory, "sizes": sizes}))

    def apply(state: State, gathered: Gathered) -> State:
        update = mean_update(state, gathered)
        mean = beta1 * state.memory["mean"] + (1 - beta1) * update
        sizes = second_moment(state.memory["sizes"], update**2)
        moved = state.parameters + learning_rate * mean / (np.sqrt(sizes) + tau)
        return state.moved(moved, mean=mean, sizes=sizes)

    return Algorithm(init, apply)
