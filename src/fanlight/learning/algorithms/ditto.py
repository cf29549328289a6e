"""Ditto: a global model as in FedAvg, and beside it each home's own (Li et al. 2012.04221, algorithm 1).

    device k:  w_k as in FedAvg;   v_k: steps on F_k(v) + λ/2 ‖v - w‖², from its last v_k

The home uses v_k: near the global model as far as λ asks, its own otherwise.

State: v_k on each device. Composes: a device sends what it sends in FedAvg; v_k never leaves it. Its global model is
FedAvg's; with λ = 0 each v_k is trained alone.
"""

from __future__ import annotations

from fanlight.learning.algorithms.algorithm import Algorithm, Memory, first
from fanlight.learning.algorithms.fedavg import apply
from fanlight.learning.algorithms.local import Descend, Descent, Outcome, Received, plain
from fanlight.learning.algorithms.recipe import Parameter, Recipe


def ditto(pull: float) -> Algorithm:
    """The algorithm.

    Args:
        pull: λ, at least 0.
    """

    def local(received: Received, memory: Memory, descend: Descend) -> Outcome:
        shared = plain(received, memory, descend)
        before = received.remembered(memory, "own") if "own" in memory else received.parameters
        own = descend(Descent(before, pull=pull, anchor=received.parameters)).parameters
        return Outcome(shared.update, own, {"own": own})

    return Algorithm(first, apply, local, descents=2, own="own")


RECIPE = Recipe(
    name="ditto",
    title="Ditto",
    summary="FedAvg, and for each home a model of its own that stays near the global one.",
    paper="Li et al. 2021, 2012.04221",
    on_device="its own model",
    on_server="",
    composes="yes: as FedAvg; its own model never leaves a device",
    make=ditto,
    parameters=(Parameter("pull", "Pull λ", "how near its own model stays to the global one", 0.1, 0.0, 100.0),),
)
