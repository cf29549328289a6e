"""Tensors that stay at home: what FedPer, FedRep and FedBN share.

A device's model has the shared tensors of the global one and personal tensors of its own, which it remembers; what it
sends has zeros in their place, so the global model's never move, and the vector is as long as ever.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout
from fanlight.learning.algorithms.algorithm import Algorithm, Memory, first
from fanlight.learning.algorithms.fedavg import apply
from fanlight.learning.algorithms.local import Descend, Descent, Outcome, Received, mixed
from fanlight.learning.algorithms.recipe import Parameter

Choice = Callable[[TensorLayout], frozenset[str]]
"""Which tensors of a layout are personal."""

LAST = Parameter(
    "personal",
    "Personal tensors",
    "how many stay at home, counted from the model's end; of a softmax head the last is its bias",
    1,
    0,
    1000,
    whole=True,
)


def last(count: int) -> Choice:
    """The last ``count`` tensors, but never all: something must be shared."""

    def choose(layout: TensorLayout) -> frozenset[str]:
        kept = min(count, len(layout.names) - 1)
        return frozenset(layout.names[len(layout.names) - kept :])

    return choose


def personalised(
    personal: Choice,
    train: Callable[[NDArray[np.float64], frozenset[str], Received, Descend], NDArray[np.float64]],
    descents: int,
) -> Algorithm:
    """FedAvg over the tensors that are not personal; ``train`` gives the local model, from a start."""

    def local(received: Received, memory: Memory, descend: Descend) -> Outcome:
        names = personal(received.layout)
        own = received.remembered(memory, "personal") if "personal" in memory else received.parameters
        trained = train(mixed(names, received, own, received.parameters), names, received, descend)
        update = mixed(names, received, np.zeros_like(trained), trained - received.parameters)
        return Outcome(update, trained, {"personal": trained} if names else {})

    return Algorithm(first, apply, local, descents=descents)


def together(
    start: NDArray[np.float64], _names: frozenset[str], _received: Received, descend: Descend
) -> NDArray[np.float64]:
    """Train shared and personal tensors at once."""
    return descend(Descent(start)).parameters
