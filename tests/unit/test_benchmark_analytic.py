"""The benchmark of solved heads: who gets which pictures, and what their rivals may do."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy import Examples, Parts
from benchmarks.analytic import best_pooled, deal, difference, score, solved
from fanlight.learning import analytic

PARTS = ("train", "valid", "test")


def pool(counts: tuple[int, ...], spread: float = 0.5) -> Parts:
    """So many pictures of each class, in each part; eight features, of which the first tells which it is."""
    draw, y = np.random.default_rng(24), np.repeat(np.arange(len(counts)), counts)

    def part() -> Examples:
        x = np.eye(8)[y] + 0.5 + spread * draw.normal(size=(y.size, 8))
        return Examples(x.astype(np.float32), y)

    return {name: part() for name in PARTS}


@pytest.mark.parametrize("devices", [3, 4, 7, 50])
def test_every_picture_is_dealt_to_one_device_of_its_class(devices: int) -> None:
    whole = pool((20, 17, 5))
    dealt = deal(whole, devices, 3)
    assert all(len(np.unique(device[part].y)) <= 1 for device in dealt for part in PARTS)
    for part in PARTS:
        rows = np.concatenate([device[part].x for device in dealt])
        assert sorted(map(tuple, rows)) == sorted(map(tuple, whole[part].x))


def test_the_best_pooled_head_may_weigh_classes_as_the_solved_one_does() -> None:
    whole = pool((90, 30, 4), spread=1.0)
    both = [analytic.collect(whole[part].x, whole[part].y, 3) for part in ("train", "valid")]
    solution = analytic.fit(*both, balanced=True)
    assert solution.strength in analytic.LAMBDAS
    assert best_pooled(whole, 3, seed=0) >= score(solution.head, whole["test"], 3)


def test_masked_sums_of_any_devices_give_the_logits_of_all_pictures_in_one_place() -> None:
    whole = pool((20, 17, 5))
    for devices in (2, 7):
        dealt = [
            {part: Examples(x.x[at::devices], x.y[at::devices]) for part, x in whole.items()} for at in range(devices)
        ]
        assert difference(solved(dealt, 3), whole, 3) < 1e-6
