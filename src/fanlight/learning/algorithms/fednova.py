"""FedNova: devices count by direction, not by how many steps they took (Wang et al. 2007.07481, equation 6).

    device k:  d_k = (w_k - w) / ‖a_k‖₁
    server:    w⁺ = w + (Σ p_k ‖a_k‖₁) · Σ p_k d_k          p_k = n_k / Σ n

‖a_k‖₁ says how far its steps carry a constant gradient, in learning rates: τ for τ plain steps, and

    [τ - ρ (1 - ρ^τ) / (1 - ρ)] / (1 - ρ)

with momentum ρ (section 4). Both are counted in units of what ``typical_steps`` steps have, which cancels in the model,
and keeps the update about as long as in FedAvg, so that quantising it loses no more.

Devices train to the end and do not go back to the pass that was the best on their validation pictures: who stops early
because it is led astray would say few steps, and its direction be made longer again by what it did without.

State: none. Composes: the weighted mean of steps needs a segment of its own. With equal steps it is FedAvg.
"""

from __future__ import annotations

from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, Memory, State, first, mean_steps, mean_update
from fanlight.learning.algorithms.local import Descend, Descent, Outcome, Received
from fanlight.learning.algorithms.recipe import Parameter, Recipe


def reach(steps: int, momentum: float) -> float:
    """‖a‖₁ of so many steps with so much momentum (0 to below 1)."""
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)


def fednova(typical_steps: float) -> Algorithm:
    """The algorithm.

    Args:
        typical_steps: a whole number, about what a device takes.
    """

    def local(received: Received, _memory: Memory, descend: Descend) -> Outcome:
        done = descend(Descent(received.parameters, to_the_end=True))
        steps = reach(done.steps, done.momentum) / reach(int(typical_steps), done.momentum)
        return Outcome((done.parameters - received.parameters) / steps, done.parameters, steps=steps)

    def apply(state: State, gathered: Gathered) -> State:
        return state.moved(state.parameters + mean_steps(gathered) * mean_update(state, gathered))

    return Algorithm(first, apply, local, sends_steps=True)


RECIPE = Recipe(
    name="fednova",
    title="FedNova",
    summary="A device that takes more steps does not pull the model to itself.",
    paper="Wang et al. 2020, 2007.07481",
    on_device="",
    on_server="",
    composes="yes: the weighted mean of steps is a segment of its own",
    make=fednova,
    parameters=(Parameter("typical_steps", "Typical steps", "about what a device takes", 10, 1, 10_000, whole=True),),
)
