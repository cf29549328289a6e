"""FedRep: first the personal tensors, then the shared ones (Collins et al. 2102.07078, algorithm 1).

As FedPer, but a device first trains its personal tensors while the shared ones stand still, and then the shared ones
while its own stand still: so the shared ones learn for a home that has already fitted the rest to itself.

State: the personal tensors on each device. Composes: a device sends zeros in their place. Without personal tensors it
is FedAvg.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.local import Descend, Descent, Received
from fanlight.learning.algorithms.personal import LAST, last, personalised
from fanlight.learning.algorithms.recipe import Recipe


def fedrep(personal: float) -> Algorithm:
    """The algorithm; ``personal`` tensors from the end stay at home."""
    return personalised(last(int(personal)), _in_turn, descents=2)


def _in_turn(
    start: NDArray[np.float64], names: frozenset[str], received: Received, descend: Descend
) -> NDArray[np.float64]:
    shared = frozenset(received.layout.names) - names
    fitted = descend(Descent(start, frozen=shared)).parameters if names else start
    return descend(Descent(fitted, frozen=names)).parameters


RECIPE = Recipe(
    name="fedrep",
    title="FedRep",
    summary="As FedPer, but personal tensors are trained first, then the shared ones.",
    paper="Collins et al. 2021, 2102.07078",
    on_device="its personal tensors",
    on_server="",
    composes="yes: zeros travel in place of personal tensors",
    make=fedrep,
    parameters=(LAST,),
)
