"""Sums of pictures with variants are sums of so many pictures: they pass what main asks of sums."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fanlight.core import triangle
from fanlight.learning import analytic
from fanlight.learning.analytic import CONSTANT, solve
from fanlight.learning.heads import unit
from fanlight.protocol.statistics import Sums, why_impossible

SETS = st.tuples(
    st.integers(1, 20), st.integers(0, 5), st.integers(1, 9), st.integers(2, 4), st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
)  # fmt: skip


def drawn(pictures: int, variants: int, features: int, classes: int, seed: int, spread: float):  # type: ignore[no-untyped-def]
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(pictures, features)).astype(np.float32)
    varied = [(x + spread * chance.normal(size=x.shape)).astype(np.float32) for _ in range(variants)]
    return x, varied, chance.integers(0, classes, pictures), classes


@given(SETS)
def test_they_are_possible_and_count_pictures(numbers: tuple[int, int, int, int, int, float]) -> None:
    x, varied, y, classes = drawn(*numbers)
    found = analytic.collect_varied(x, varied, y, classes)
    assert (found.examples == np.bincount(y, minlength=classes)).all()
    sums = Sums.rounded((found.gram, found.sums, found.examples), (found.gram, found.sums, found.examples))
    assert why_impossible(sums, 1) is None
    matrix = np.empty((x.shape[1],) * 2)
    triangle.spread(found.gram, matrix)
    assert matrix.trace() <= len(x) * (1 + 1e-6)
    assert np.linalg.eigvalsh(matrix).min() >= -1e-5 * len(x)
    assert (np.abs(found.sums) <= found.examples * (1 + 1e-6)).all()


@given(SETS)
def test_the_head_is_that_of_the_mean_error_over_all_sights(numbers: tuple[int, int, int, int, int, float]) -> None:
    x, varied, y, classes = drawn(*numbers)
    found = solve(analytic.collect_varied(x, varied, y, classes), 0.3)
    sights = 1 + len(varied)
    phi = np.concatenate([unit(sight).astype(np.float64) for sight in (x, *varied)])
    phi = np.hstack([phi, np.full((len(phi), 1), CONSTANT)])
    one_hot = np.tile(np.eye(classes)[y], (sights, 1))
    system = phi.T @ phi / sights + 0.3 * np.eye(phi.shape[1])
    wanted = np.linalg.solve(system, phi.T @ one_hot / sights)
    assert np.abs(found.weight - wanted[:-1]).max() < 1e-4
    assert np.abs(found.bias - CONSTANT * wanted[-1]).max() < 1e-4


def test_summed_instead_of_meant_they_would_be_refused() -> None:
    """What the test above would miss if the checks were blind to it."""
    x, varied, y, classes = drawn(5, 3, 4, 2, 7, 0.1)
    total = analytic.collect(x, y, classes)
    for sight in varied:
        total += analytic.collect(sight, y, classes)
    said = (total.gram, total.sums, np.bincount(y, minlength=classes).astype(np.int64))
    assert why_impossible(Sums.rounded(said, said), 1) is not None
