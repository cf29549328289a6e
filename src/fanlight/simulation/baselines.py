"""What a federation is held against: all examples in one place, and every device alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fanlight.learning.algorithms.local import Descent
from fanlight.simulation.learners import HeadLearner, Learner
from fanlight.simulation.modules import ModuleLearner
from fanlight.simulation.population import Part, Population
from fanlight.simulation.result import Result, figures
from fanlight.simulation.seeds import stream
from fanlight.simulation.study import Study

MOST_ALONE = 20
"""Devices that are trained alone; of more, so many are drawn by lot."""
_LONGER = 10


def with_baselines(study: Study, learner: Learner, population: Population, result: Result) -> Result:
    """The result with both baselines, by the same head, training settings and test examples.

    A federation passes over its examples in every round, so a baseline must not be held to the epochs of one: it takes
    up to ten times as many, and those of all rounds at most, and keeps its best by its validation examples.

    Args:
        study, learner, result: of the federation.
        population: its devices' examples as they are, and not as cheats call them.
    """
    test = population.test
    epochs = min(max(study.rounds, 1), _LONGER) * study.training.epochs
    longer = study.model_copy(update={"training": study.training.model_copy(update={"epochs": epochs})})
    learner = _longer(learner, longer)
    pooled = _fit(learner, *population.pooled(), study.seed, 0)
    there = np.flatnonzero(population.learns)
    drawn = there[stream(study.seed, "alone").permutation(there.size)[:MOST_ALONE]]
    alone = [
        figures(learner.measure(_fit(learner, population.train(k), population.valid(k), study.seed, 1 + k), test))
        for k in sorted(int(device) for device in drawn)
    ]
    means: dict[str, Any] = {name: float(np.mean([each[name] for each in alone])) for name in alone[0]}
    return replace(
        result,
        pooled=figures(learner.measure(pooled, test)),
        local_only={**means, "devices": len(alone), "best": max(each["balanced_accuracy"] for each in alone)},
    )


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
