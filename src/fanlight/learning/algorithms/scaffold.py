"""SCAFFOLD: control variates take out what devices pull apart (Karimireddy et al. 1910.06378, algorithm 1).

    device k:  y ← x, then steps  y ← y - η_l (g(y) - c_k + c)
               c_k⁺ = mean of the g(y) along the way       (option II: c_k - c + (x - y)/(K η_l) for plain steps)
               sends  y - x  and  c_k⁺ - c_k
    server:    x⁺ = x + η_g · mean of (y - x)
               c⁺ = Σ c_k⁺ / N                             N: devices in the federation

All K steps are taken, to the end: to go back to the step that suits a device's own validation pictures best would bring
back what c - c_k takes out. The mean of gradients is option II without its division, and holds for steps with momentum
too. Devices count the same
in c, whatever their number of pictures, so what is minimised is the plain mean of their objectives.

State: c_k on each device, Σ c_k and c on the server, c with each version of the model. The server keeps the sum, for N
changes: where a device joins, c + Σ (c_k⁺ - c_k) / N of the paper would never again be the mean of the c_k. Composes:
the change of c_k travels in a segment of its own, unweighted, clipped to ``control_clip``; c_k⁺ is what follows from
the clipped change. c_k advances only if the report was summed and the round released, as Σ c_k does. What a device that
has left had added to the sum stays in it.

With c = c_k = 0, the first round, it is FedAvg.
"""

from __future__ import annotations

import numpy as np

from fanlight.core.quantise import clip
from fanlight.errors import ModelError
from fanlight.learning.algorithms.algorithm import (
    Algorithm,
    Gathered,
    Memory,
    State,
    first,
    mean_control,
    mean_update,
)
from fanlight.learning.algorithms.local import Descend, Descent, Outcome, Received
from fanlight.learning.algorithms.recipe import Parameter, Recipe

CONTROL = "control"
_SUM, _OWN = "sum", "own_control"


def scaffold(learning_rate: float, control_clip: float) -> Algorithm:
    """The algorithm.

    Args:
        learning_rate: η_g of the server, above 0.
        control_clip: largest L2 norm of what one round may change in a device's control variate.
    """

    def local(received: Received, memory: Memory, descend: Descend) -> Outcome:
        known = memory if CONTROL in received.memory else {}  # a version without control variates begins anew
        own, all_of_them = received.remembered(known, _OWN), received.remembered(received.memory, CONTROL)
        done = descend(Descent(received.parameters, shift=all_of_them - own, watch=True, to_the_end=True))
        if done.mean_gradient is None:
            raise ModelError("nobody has watched the gradients")
        change = clip(done.mean_gradient - own, control_clip).vector
        return Outcome(done.parameters - received.parameters, done.parameters, {_OWN: own + change}, control=change)

    def apply(state: State, gathered: Gathered) -> State:
        summed = state.memory[_SUM] + gathered.count * mean_control(state, gathered)
        with np.errstate(over="ignore"):
            moved = state.parameters + learning_rate * mean_update(state, gathered)
        return state.moved(moved, **{_SUM: summed, CONTROL: summed / gathered.federation})

    return Algorithm(
        lambda parameters: first(parameters, _SUM, CONTROL),
        apply,
        local,
        control_clip=control_clip,
        publishes=(CONTROL,),
        mirrors=True,
    )


RECIPE = Recipe(
    name="scaffold",
    title="SCAFFOLD",
    summary="Control variates take out what devices with different pictures pull apart.",
    paper="Karimireddy et al. 2020, 1910.06378",
    on_device="its control variate",
    on_server="the sum and the mean of all control variates",
    composes="yes: changes of control variates are a segment of their own, clipped and unweighted",
    make=scaffold,
    parameters=(
        Parameter("learning_rate", "Learning rate η", "of the server", 1.0, 1e-6, 10.0),
        Parameter("control_clip", "Clip of control variates", "largest norm of one round's change", 50.0, 0.001, 1e4),
    ),
)
