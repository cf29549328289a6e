from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fanlight.errors import ModelError
from fanlight.learning.algorithms.robust import ROBUST, geometric_median, krum, median, trimmed_mean

GOOD = np.random.default_rng(2).normal(size=(8, 20)) * 0.1 + np.arange(20)


@pytest.mark.parametrize("name", ROBUST)
def test_a_minority_of_bad_shards_hardly_moves_it(name: str) -> None:
    bad = GOOD.copy()
    bad[:2] = 1e6
    robust = ROBUST[name]
    assert np.abs(robust(bad) - GOOD[2:].mean(axis=0)).max() < 0.35
    assert np.abs(bad.mean(axis=0) - GOOD.mean(axis=0)).max() > 1e5


@pytest.mark.parametrize("name", ROBUST)
def test_one_shard_is_its_own_middle(name: str) -> None:
    np.testing.assert_allclose(ROBUST[name](GOOD[:1]), GOOD[0])


@pytest.mark.parametrize("name", ROBUST)
def test_of_two_it_is_the_mean(name: str) -> None:
    np.testing.assert_allclose(ROBUST[name](GOOD[:2]), GOOD[:2].mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("name", ROBUST)
@given(means=arrays(np.float64, (5, 3), elements=st.floats(-1e3, 1e3)), order=st.permutations(range(5)))
def test_the_order_of_shards_does_not_matter_and_it_lies_among_them(
    name: str, means: np.ndarray[tuple[int, int], np.dtype[np.float64]], order: list[int]
) -> None:
    found = ROBUST[name](means)
    assert (found >= means.min(axis=0) - 1e-9).all()
    assert (found <= means.max(axis=0) + 1e-9).all()
    if name != "krum":  # two may have the same score
        np.testing.assert_allclose(ROBUST[name](means[order]), found, atol=1e-2)


def test_medians_in_numbers() -> None:
    means = np.array([[0.0, 5.0], [1.0, 6.0], [100.0, -50.0]])
    assert median(means).tolist() == [1.0, 5.0]
    assert trimmed_mean(means).tolist() == [1.0, 5.0]
    four = np.array([[0.0], [1.0], [3.0], [100.0]])
    assert trimmed_mean(four).tolist() == [2.0]
    assert median(four).tolist() == [2.0]


def test_the_geometric_median_is_where_the_pulls_cancel() -> None:
    """Of a triangle without a corner of 120° or more: the sum of unit vectors to the corners is zero (Fermat)."""
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]])
    z = geometric_median(corners)
    pulls = (corners - z) / np.linalg.norm(corners - z, axis=1, keepdims=True)
    np.testing.assert_allclose(pulls.sum(axis=0), 0.0, atol=1e-9)


def test_krum_chooses_the_one_with_the_nearest_neighbours() -> None:
    means = np.array([[0.0], [1.0], [1.1], [1.3], [50.0], [60.0]])
    apart = (means - means.T) ** 2
    np.fill_diagonal(apart, np.inf)
    scores = [sum(sorted(row)[:3]) for row in apart.tolist()]  # s = 6, f = 1, three nearest
    assert krum(means)[0] == means[int(np.argmin(scores)), 0]


@pytest.mark.parametrize("name", ROBUST)
def test_what_is_no_set_of_means(name: str) -> None:
    for bad in (np.zeros(3), np.zeros((0, 3)), np.full((2, 2), np.nan)):
        with pytest.raises(ModelError):
            ROBUST[name](bad)
