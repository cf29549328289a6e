"""Tensors that stay at home: what FedPer, FedRep and FedBN share.

A device's model has the shared tensors of the global one and personal tensors of its own, which it remembers; what it
sends has zeros in their place, so the global model's never move, and the vector is as long as ever.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout
from fanlight.errors import SettingsError
from fanlight.learning.algorithms.algorithm import Algorithm, AtHome, Memory, first
from fanlight.learning.algorithms.fedavg import apply
from fanlight.learning.algorithms.local import Descend, Descent, Outcome, Received, mixed
from fanlight.learning.algorithms.recipe import Parameter

LAST = Parameter(
    "personal",
    "Personal tensors",
    "how many stay at home, counted from the model's end, fewer than it has; of a head alone the last is its bias",
    1,
    0,
    1000,
    whole=True,
)


def last(count: int) -> AtHome:
    """The last ``count`` tensors; all of a model cannot be at home, since something must be shared."""

    def choose(layout: TensorLayout, _normalisation: frozenset[str]) -> frozenset[str]:
        names = layout.names
        if count >= len(names):
            raise SettingsError(
                f"personal: {count} of the model's {len(names)} tensors at home leave nothing to share.",
                next=f"Write {len(names) - 1} or less.",
            )
        return frozenset(names[len(names) - count :])

    return choose


def personalised(
    personal: AtHome,
    train: Callable[[NDArray[np.float64], frozenset[str], Received, Descend], NDArray[np.float64]],
    descents: int,
) -> Algorithm:
    """FedAvg over the tensors that are not personal; ``train`` gives the local model, from a start."""

    def local(received: Received, memory: Memory, descend: Descend) -> Outcome:
        names = personal(received.layout, received.normalisation)
        own = received.remembered(memory, "personal") if "personal" in memory else received.parameters
        trained = train(mixed(names, received, own, received.parameters), names, received, descend)
        update = mixed(names, received, np.zeros_like(trained), trained - received.parameters)
        return Outcome(update, trained, {"personal": trained} if names else {})

    return Algorithm(first, apply, local, descents=descents, at_home=personal, own="personal")


def together(
    start: NDArray[np.float64], _names: frozenset[str], _received: Received, descend: Descend
) -> NDArray[np.float64]:
    """Train shared and personal tensors at once."""
    return descend(Descent(start)).parameters
