"""The benchmark of all algorithms: who has what, and that each one learns."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy import Examples
from benchmarks.all_algorithms import CHOOSABLE, PERSONAL, homes, run
from fanlight.learning.algorithms.registry import recipe
from fanlight.learning.training_settings import TrainingSettings


def examples() -> Examples:
    """Sixty pictures of each of three classes, well apart."""
    draw, y = np.random.default_rng(3), np.arange(180) % 3
    return Examples((3 * np.eye(8)[y] + draw.normal(size=(180, 8))).astype(np.float32), y)


def test_every_picture_is_in_one_part_of_one_home() -> None:
    whole = examples()
    found = homes(whole, "classes:1", 6, seed=1)
    rows = [tuple(row) for home in found for part in home.values() for row in part.x]
    assert sorted(rows) == sorted(map(tuple, whole.x))
    for home in found:
        assert {part: each.y.size for part, each in home.items()} == {"test": 6, "valid": 6, "train": 18}
        assert np.unique(home["train"].y).size == 1


def test_settings_reach_the_homes() -> None:
    """Of one class there are few: with weights it counts as much."""
    whole = examples()
    kept = np.flatnonzero((whole.y > 0) | (np.arange(whole.y.size) < 24))
    among = homes(Examples(whole.x[kept], whole.y[kept]), "iid", 3, seed=1)
    one, other = (run(recipe("fedavg").of({}), among, 2, 1, TrainingSettings(class_weights=on)) for on in (True, False))
    assert one != other


@pytest.mark.parametrize("name", CHOOSABLE)
def test_each_learns_of_homes_with_one_class_each(name: str) -> None:
    found = run(recipe(name).of({}), homes(examples(), "classes:1", 3, seed=1), rounds=12, seed=1)
    assert found.everywhere > 0.5, "by chance it is a third"
    assert found.at_home == pytest.approx(found.everywhere), "homes are as large as classes"
    if name in PERSONAL:
        assert found.own >= found.at_home
