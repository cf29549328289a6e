"""FedDyn: a regulariser that moves, so that devices agree in the end (Acar et al. 2111.04263, algorithm 1).

    device k:  θ_k = argmin F_k(θ) - ⟨g_k, θ⟩ + α/2 ‖θ - θ^t‖²,   g_k⁺ = g_k - α (θ_k - θ^t)
    server:    h⁺ = h - α (|P|/m) Δ,   θ^{t+1} = θ^t + Δ - h⁺/α     Δ: mean of θ_k - θ^t over the P of m devices

h is the mean of the g_k. The server keeps their sum, h times m: where a device joins, an average that was divided by
the m of its time would never again be that mean.

Where all have stopped moving, every θ_k is the global model and g_k is the gradient there; h is the mean of the g_k,
and zero: so the model is where the mean of the objectives is least, however different they are.

The mean weighs devices by their n_k pictures, and so does h: what is minimised is FedAvg's objective. So the sum is
Σ n_k g_k, and m is Σ n_k: of a round that not all were in, what it is if they are like the others; this sets the length
of a step and not where they end. A device whose n_k changes later leaves a bias, of the change times its g_k.

State: g_k on each device, Σ n_k g_k on the server. Composes: the mean is all it asks of the sum. g_k advances only if
the report was summed and the round released, and by what was sent: where θ_k - θ^t is clipped, by what is left of it.
The first round's devices are FedProx's with μ = α.
"""

from __future__ import annotations

from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, Memory, State, first, mean_update
from fanlight.learning.algorithms.local import Descend, Descent, Outcome, Received
from fanlight.learning.algorithms.recipe import Parameter, Recipe


def feddyn(alpha: float) -> Algorithm:
    """The algorithm.

    Args:
        alpha: α, above 0.
    """

    def local(received: Received, memory: Memory, descend: Descend) -> Outcome:
        gradient = received.remembered(memory, "own_gradient")
        start = received.parameters
        done = descend(Descent(start, shift=-gradient, pull=alpha, anchor=start))
        update = done.parameters - start
        moved = {"own_gradient": gradient - alpha * update}
        return Outcome(update, done.parameters, moved, follows={"own_gradient": -alpha})

    def apply(state: State, gathered: Gathered) -> State:
        update = mean_update(state, gathered)
        gradients = state.memory["gradients"] - alpha * gathered.summed_weight * update
        drift = gradients / gathered.federation_weight
        return state.moved(state.parameters + update - drift / alpha, gradients=gradients)

    return Algorithm(lambda parameters: first(parameters, "gradients"), apply, local, mirrors=True)


RECIPE = Recipe(
    name="feddyn",
    title="FedDyn",
    summary="Each device's objective moves from round to round, until all agree on the common best model.",
    paper="Acar et al. 2021, 2111.04263",
    on_device="the gradient at its last model",
    on_server="the sum of these gradients",
    composes="yes: it asks only for the mean",
    make=feddyn,
    parameters=(Parameter("alpha", "Strength α", "the smaller, the longer the server's steps", 1.0, 0.001, 100.0),),
)
