"""FedBuff: the next model as soon as K updates are there, old ones counting less (Nguyen et al. 2106.06639).

    device k:  sends  s(τ) (w_k - w),   s(τ) = 1 / √(1 + τ)     τ: versions that were published since w
    server:    w⁺ = w' + η · mean of K updates                  w': the model as it is now

That an update is made less is the device's work, so that the server need not know whose is how old. The mean is
weighted by pictures, as everywhere here; the paper's is not.

It runs in simulations (``simulation.buffered``), K being the study's ``cohort``; in a federation a round's manifest
names one version, and no report is for an older one.

State: none. Composes: with a buffer of at least k_min. With τ = 0 and η = 1 it is FedAvg.
"""

from __future__ import annotations

import math

from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, Memory, State, first, mean_update
from fanlight.learning.algorithms.local import Descend, Outcome, Received, plain
from fanlight.learning.algorithms.recipe import Parameter, Recipe


def fedbuff(learning_rate: float, concurrency: float) -> Algorithm:
    """The algorithm.

    Args:
        learning_rate: η of the server, above 0.
        concurrency: devices at work at once; 0 = 2 K. Whole.
    """

    def local(received: Received, memory: Memory, descend: Descend) -> Outcome:
        fresh = plain(received, memory, descend)
        return Outcome(fresh.update / math.sqrt(1 + received.staleness), fresh.own)

    def apply(state: State, gathered: Gathered) -> State:
        return state.moved(state.parameters + learning_rate * mean_update(state, gathered))

    return Algorithm(first, apply, local, concurrency=int(concurrency))


RECIPE = Recipe(
    name="fedbuff",
    title="FedBuff",
    summary="Takes what has arrived as soon as it is enough; updates for older versions count less.",
    paper="Nguyen et al. 2022, 2106.06639",
    on_device="",
    on_server="",
    composes="yes, with a buffer of as many as a sum needs",
    make=fedbuff,
    parameters=(
        Parameter("learning_rate", "Learning rate η", "of the server", 1.0, 1e-6, 10.0),
        Parameter(
            "concurrency", "Devices at work", "at once; 0 = twice as many as the buffer takes", 0, 0, 1e6, whole=True
        ),
    ),
    why_not="a round's manifest names one version, so no report is for an older one; to end rounds early, draw more "
    "devices than you need (over_selection_percent)",
)
