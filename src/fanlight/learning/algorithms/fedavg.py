"""Federated averaging: the next model is the old one plus the mean update (McMahan et al. 1602.05629, algorithm 1).

With weights n_k this equals averaging the devices' models, because the weights sum to 1. The server's learning rate
of Reddi et al. (2003.00295, algorithm 1) is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fanlight.errors import ModelError
from fanlight.learning.algorithms.algorithm import Algorithm, Vector, checked_vector, frozen_vector

SERVER_LEARNING_RATE = 1.0


@dataclass(frozen=True)
class FedAvgState:
    """parameters (d,) float64, read-only; rounds applied so far."""

    parameters: Vector
    rounds: int = 0


def init(parameters: ArrayLike) -> FedAvgState:
    """The state before the first round.

    Raises:
        ModelError: not a vector of finite numbers.
    """
    return FedAvgState(frozen_vector("the model", parameters))


def apply(state: FedAvgState, mean_update: ArrayLike) -> FedAvgState:
    """The state after one more round.

    Args:
        state: the state before; not changed.
        mean_update: (d,), sum of n_k (local_k - global) divided by the sum of n_k.

    Raises:
        ModelError: the update has another length, or the outcome is not finite; the old state stands.
    """
    update = checked_vector("the mean update", mean_update)
    if update.shape != state.parameters.shape:
        raise ModelError(f"an update of {update.size} numbers does not fit a model of {state.parameters.size}")
    with np.errstate(over="ignore"):
        moved = SERVER_LEARNING_RATE * update
        moved += state.parameters
    checked_vector("the new model", moved).setflags(write=False)
    return FedAvgState(moved, state.rounds + 1)


FEDAVG: Algorithm[FedAvgState] = Algorithm("fedavg", init, apply, lambda state: state.parameters)
