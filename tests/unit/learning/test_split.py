from __future__ import annotations

import pytest

from fanlight.learning.split import PARTS, split, split_points


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1)), (5, (3, 1, 1)), (10, (6, 2, 2)),
     (100, (60, 20, 20))],
)  # fmt: skip
def test_sizes(count: int, sizes: tuple[int, int, int]) -> None:
    parts = list(split({f"{number:03d}": 0 for number in range(count)}, []).values())
    assert tuple(parts.count(part) for part in PARTS) == sizes


def test_borders_move_by_at_most_one() -> None:
    for count in range(1, 500):
        before, after = split_points(count), split_points(count + 1)
        assert all(0 <= new - old <= 1 for old, new in zip(before, after, strict=True))
