"""What a fleet has found, in the form of a simulation's result."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from fanlight.core.metrics import Metrics
from fanlight.learning.algorithms.recipe import MICRO
from fanlight.protocol.plan import Plan
from fanlight.services.federation import Token
from fanlight.services.fleet.fleet import THREADS
from fanlight.services.fleet.journal import Journal
from fanlight.services.fleet.lesson import Lesson
from fanlight.simulation.population import Population
from fanlight.simulation.result import Result
from fanlight.simulation.study import Study

ENGINE: Final = "live"


def result_of(study: Study, token: Token, journal: Journal, latest: Lesson, population: Population) -> Result:
    """The result.

    Args:
        study: of the devices.
        token: names the servers.
        journal: with one round or more.
        latest: the newest version that was seen.
        population: who has what.
    """
    counts = latest.measured_on(population.test)
    return Result(
        study=_as_the_task_says(study, latest.plan),
        engine=ENGINE,
        workers=THREADS,
        rounds=tuple(journal.lines),
        parameters=latest.parameters,
        model_sha256=hashlib.sha256(latest.parameters.astype("<f4").tobytes()).hexdigest(),
        data=population.as_json(study.partition),
        per_class=Metrics.from_confusion(counts.confusion).as_dict(population.classes)["per_class"],
        live={
            "main": token.main_url,
            "aggregator": token.aggregator_url,
            "federation": token.trust.fid.hex(),
            "task": latest.plan.task,
            "version": latest.version,
            "without_version": list(journal.others),
        },
    )


def _as_the_task_says(study: Study, plan: Plan) -> dict[str, Any]:
    """The study, with the task's word on what devices do. What main does with their sum they are not told."""
    asked = plan.algorithm
    numbers = ",".join(f"{name}={micro / MICRO:g}" for name, micro in asked.parameters) if asked else ""
    training = {
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate_micro / MICRO,
        "momentum": plan.momentum_micro / MICRO,
        "l2": plan.l2_micro / MICRO,
        "patience": plan.patience,
        "class_weights": plan.class_weights,
    }
    return {
        **study.as_json(),
        "algorithm": (f"{asked.name}:{numbers}" if numbers else asked.name) if asked else "fedavg",
        "head": plan.head,
        "training": training,
        "picture_size": plan.picture_size,
        "fidelity": "protocol",
    }
