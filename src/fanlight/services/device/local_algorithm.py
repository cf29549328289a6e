"""The algorithm whose device's part a plan asks for."""

from __future__ import annotations

from fanlight.errors import Refused, SettingsError
from fanlight.learning.algorithms import fedavg
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.recipe import MICRO
from fanlight.learning.algorithms.registry import recipe
from fanlight.protocol.plan import Plan, PlannedAlgorithm


def local_algorithm(plan: Plan) -> Algorithm:
    """The algorithm; FedAvg where the plan names none.

    Raises:
        Refused: this program does not know it, or knows one of this name that sends something else.
    """
    planned = plan.algorithm
    if planned is None:
        return fedavg.FEDAVG
    try:
        algorithm = recipe(planned.name).of({name: micro / MICRO for name, micro in planned.parameters})
    except SettingsError as error:
        raise _unknown(planned) from error
    sends = (round(algorithm.control_clip * MICRO) or None, algorithm.sends_steps)
    if sends != (planned.control_clip_micro, planned.steps):
        raise _unknown(planned)
    return algorithm


def algorithm_name(plan: Plan) -> str:
    """The name under which is kept what it remembers."""
    return plan.algorithm.name if plan.algorithm else fedavg.RECIPE.name


def _unknown(planned: PlannedAlgorithm) -> Refused:
    return Refused(
        f"The plan asks for the algorithm {planned.name!r} in a way that this program does not know.",
        slug="algorithm-refused",
        next="Install the version of Fanlight that the operator has.",
    )
