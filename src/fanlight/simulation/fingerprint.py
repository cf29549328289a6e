"""What a run learns from and what it begins with, in 32 bytes: a study names both, but does not hold them.

A folder of pictures, a file that deals them out, data from Python or a module's code may be others when the same study
is asked for again; a run that went on then would be of neither.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from fanlight.simulation.learners import Learner
from fanlight.simulation.population import Part, Population

_ASKED = 16
"""Test examples that a model is told apart by, beside its numbers: the same tensors may be put together otherwise."""


def fingerprint(population: Population, learner: Learner) -> str:
    """SHA-256, hexadecimal: of all examples and who has them, of the first model, and how it does on some."""
    digest = hashlib.sha256()
    test, first = population.test, learner.start()
    arrays: list[np.ndarray[Any, np.dtype[Any]]] = [population.everything.x, population.everything.y]
    arrays += [population.bounds, test.x, test.y, first]
    if population.marked is not None:
        arrays += [population.marked.x, population.marked.y]
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    asked = learner.measure(first, Part(test.x[:_ASKED], test.y[:_ASKED]))
    digest.update(f"{learner.layout.names}{asked.loss_sum:.4g}".encode())
    return digest.hexdigest()
