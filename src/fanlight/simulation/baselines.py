"""What a federation is held against: all examples in one place, every device alone, and what each home needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fanlight.learning.algorithms.local import Descent
from fanlight.learning.evaluation import Counts
from fanlight.simulation.checkpoint import Standing
from fanlight.simulation.homes import answering, on_its_classes
from fanlight.simulation.learners import HeadLearner, Learner
from fanlight.simulation.modules import ModuleLearner
from fanlight.simulation.population import Part, Population
from fanlight.simulation.result import Result, figures
from fanlight.simulation.running import Run
from fanlight.simulation.seeds import stream
from fanlight.simulation.study import Study

MOST_ALONE = 20
"""Devices that are trained alone; of more, so many are drawn by lot."""
_LONGER = 10


def with_baselines(run: Run, standing: Standing, population: Population, result: Result) -> Result:
    """The result with both baselines, by the same head, training settings and test examples; and what homes have.

    A federation passes over its examples in every round, so a baseline must not be held to the epochs of one: it takes
    up to ten times as many, and those of all rounds at most, and keeps its best by its validation examples.

    Args:
        run, standing, result: the federation, and what it came to.
        population: its devices' examples as they are, and not as cheats call them.
    """
    study, test = run.study, population.test
    epochs = min(max(study.rounds, 1), _LONGER) * study.training.epochs
    longer = study.model_copy(update={"training": study.training.model_copy(update={"epochs": epochs})})
    learner = _longer(run.workshop.learner, longer)
    pooled = _fit(learner, *population.pooled(), study.seed, 0)
    there = np.flatnonzero(population.learns)
    drawn = sorted(int(k) for k in there[stream(study.seed, "alone").permutation(there.size)[:MOST_ALONE]])
    alone = {
        k: learner.measure(_fit(learner, population.train(k), population.valid(k), study.seed, 1 + k), test)
        for k in drawn
    }
    found = [figures(counts) for counts in alone.values()]
    means: dict[str, Any] = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
    return replace(
        result,
        pooled=figures(learner.measure(pooled, test)),
        local_only={**means, "devices": len(alone), "best": max(each["balanced_accuracy"] for each in found)},
        homes=_homes(run, standing, population, alone),
    )


def _homes(
    run: Run, standing: Standing, population: Population, alone: Mapping[int, Counts]
) -> dict[str, float | None] | None:
    """Means over those homes that do not cheat, each on its own classes; None if all of them cheat."""
    learner, test = run.workshop.learner, population.test
    honest = [device for device in alone if device not in run.workshop.cheats.who]
    if not honest:
        return None
    parameters = standing.state.parameters
    shared, owned = learner.measure(parameters, test), population.owned
    own = answering(run.workshop, parameters, standing.remembered, honest)

    def mean(of: Callable[[int], Counts]) -> float:
        return float(np.mean([on_its_classes(of(k), owned[k]) for k in honest]))

    return {
        "devices": len(honest),
        "own": None if own is None else mean(lambda k: learner.measure(own[k], test)),
        "global": mean(lambda _: shared),
        "alone": mean(alone.__getitem__),
    }


def _longer(learner: Learner, study: Study) -> Learner:
    return (
        replace(learner, settings=study.training.settings)
        if isinstance(learner, (HeadLearner, ModuleLearner))
        else learner
    )


def _fit(learner: Learner, train: Part, valid: Part, seed: int, number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    if isinstance(learner, HeadLearner) and learner.kind.is_solved:
        return learner.solved(train, valid)
    done = learner.descend(train, valid, seed, number, 0)(Descent(learner.start().astype(np.float64)))
    return done.parameters.astype(np.float32)
