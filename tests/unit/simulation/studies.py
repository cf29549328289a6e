"""Small data and studies for tests: four classes in twelve features, so that a study takes a moment."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanlight.simulation import Data, Study

CLASSES, FEATURES = 4, 12


def data_of(examples: int = 400, seed: int = 0) -> Data:
    """Examples around the corners of a cube."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, CLASSES, examples)
    x = generator.standard_normal((examples, FEATURES)) + 2 * np.eye(CLASSES, FEATURES)[y]
    return Data.of(x, y)


def study_of(**changes: Any) -> Study:
    """A study of twelve devices, of which eight take part in each of three rounds."""
    return Study.of({"partition": "dirichlet:0.5", "devices": 12, "cohort": 8, "rounds": 3, **changes})
