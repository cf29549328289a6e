"""Which algorithms give a home a model of its own: it is what the home has of a round, and what it remembers of it."""

from __future__ import annotations

import numpy as np
import pytest

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.learning.algorithms.algorithm import NOTHING
from fanlight.learning.algorithms.local import Descended, Descent, Received
from fanlight.learning.algorithms.registry import RECIPES

LAYOUT = TensorLayout((TensorSpec("body", (3,)), TensorSpec("norm", (2,)), TensorSpec("head", (2,))))


def descend(descent: Descent) -> Descended:
    """A step towards ones, and from where it is drawn to."""
    towards = descent.start + 0.5 * (1 - descent.start)
    anchor = descent.start if descent.anchor is None else descent.anchor
    return Descended(towards + descent.pull * (anchor - descent.start), steps=1)


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_what_the_home_has_of_the_round(name: str) -> None:
    algorithm = RECIPES[name].of({})
    assert bool(algorithm.own) == (name in {"ditto", "fedper", "fedrep", "fedbn"})
    if algorithm.own:
        received = Received(np.arange(7.0), LAYOUT, normalisation=frozenset({"norm"}))
        first = algorithm.local(received, NOTHING, descend)
        second = algorithm.local(received, first.memory, descend)
        for outcome in (first, second):
            np.testing.assert_array_equal(outcome.memory[algorithm.own], outcome.own)
        assert np.abs(second.own - first.own).max() > 0


def test_without_personal_tensors_homes_have_none() -> None:
    received = Received(np.arange(7.0), LAYOUT)
    for name in ("fedper", "fedrep"):
        algorithm = RECIPES[name].of({"personal": 0})
        assert algorithm.own not in algorithm.local(received, NOTHING, descend).memory
