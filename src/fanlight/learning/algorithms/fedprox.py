"""FedProx: each device stays near the global model (Li et al. 1812.06127, equation 2).

A device minimises F_k(w) + μ/2 ‖w - w_t‖², so its gradient gets μ (w - w_t) added; the server averages as in FedAvg.

State: none. Composes: a device sends what it sends in FedAvg. μ = 0 is FedAvg.
"""

from __future__ import annotations

from fanlight.learning.algorithms.algorithm import Algorithm, Memory, first
from fanlight.learning.algorithms.fedavg import apply
from fanlight.learning.algorithms.local import Descend, Descent, Outcome, Received
from fanlight.learning.algorithms.recipe import Parameter, Recipe


def fedprox(mu: float) -> Algorithm:
    """The algorithm.

    Args:
        mu: μ, at least 0; μ times the devices' learning rate must be below 2, or training runs away.
    """

    def local(received: Received, _memory: Memory, descend: Descend) -> Outcome:
        done = descend(Descent(received.parameters, pull=mu, anchor=received.parameters))
        return Outcome(done.parameters - received.parameters, done.parameters)

    return Algorithm(first, apply, local)


RECIPE = Recipe(
    name="fedprox",
    title="FedProx",
    summary="FedAvg whose devices stay near the global model while they train.",
    paper="Li et al. 2020, 1812.06127",
    on_device="",
    on_server="",
    composes="yes: as FedAvg",
    make=fedprox,
    parameters=(Parameter("mu", "Pull μ", "how strongly devices are drawn to the global model", 0.1, 0.0, 100.0),),
)
