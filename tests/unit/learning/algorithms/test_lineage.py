"""The rounds on the way to a version, as the versions tell them one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import ModelError
from fanlight.learning.algorithms.lineage import MOST_SPANS, Lineage


@given(moves=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.integers(1, 3)), max_size=30))
def test_it_holds_the_rounds_on_the_way_and_no_other(moves: list[tuple[int, str, int]]) -> None:
    """Whoever keeps the whole way, round by round, says the same: wherever rounds start, and whoever made them."""
    ways: list[tuple[str, tuple[int, ...]]] = [("", ())]
    found: list[Lineage | None] = [None]
    number, of_versions = 0, []
    for back, algorithm, passed in moves:
        start = max(len(ways) - 1 - (back if back < 10 else 0), 0)
        number += passed  # rounds that made no version lie between
        of_versions.append(number)
        before = ways[start][1] if ways[start][0] == algorithm else ()
        next_version = start == len(ways) - 1
        found.append(Lineage.after(found[start], algorithm, number, next_version=next_version))
        ways.append((algorithm, (*before, number)))
    for (algorithm, way), lineage in zip(ways[1:], found[1:], strict=True):
        assert lineage is not None
        assert (lineage.algorithm, lineage.first) == (algorithm, way[0])
        assert tuple(made for made in of_versions if made in lineage) == way
        assert Lineage.of_json(lineage.as_json()) == lineage


def test_a_course_that_goes_on_takes_no_more_room() -> None:
    lineage = Lineage.after(None, "feddyn", 4, next_version=True)
    for number in range(5, 1000):
        lineage = Lineage.after(lineage, "feddyn", number, next_version=True)
    assert lineage.spans == ((4, 999),)


def test_going_back_very_often_forgets_the_oldest() -> None:
    lineage = Lineage.after(None, "feddyn", 1, next_version=True)
    for number in range(2, 3 * MOST_SPANS, 2):
        lineage = Lineage.after(lineage, "feddyn", number, next_version=False)
    assert len(lineage.spans) == MOST_SPANS
    assert 1 not in lineage
    assert number in lineage


@pytest.mark.parametrize(
    "said",
    [
        None, [], "feddyn", {}, {"algorithm": "feddyn"}, {"algorithm": "feddyn", "rounds": []},
        {"algorithm": "", "rounds": [[1, 2]]}, {"algorithm": "a\n", "rounds": [[1, 2]]},
        {"algorithm": "a" * 201, "rounds": [[1, 2]]}, {"algorithm": 3, "rounds": [[1, 2]]},
        {"algorithm": "feddyn", "rounds": [[1, 2]], "more": 1}, {"algorithm": "feddyn", "rounds": [[2, 1]]},
        {"algorithm": "feddyn", "rounds": [[1, 4], [4, 5]]}, {"algorithm": "feddyn", "rounds": [[5, 6], [1, 2]]},
        {"algorithm": "feddyn", "rounds": [[0, 2]]}, {"algorithm": "feddyn", "rounds": [[1, 2**53]]},
        {"algorithm": "feddyn", "rounds": [[1.0, 2]]}, {"algorithm": "feddyn", "rounds": [[True, 2]]},
        {"algorithm": "feddyn", "rounds": [[1, 2, 3]]}, {"algorithm": "feddyn", "rounds": ["12"]},
        {"algorithm": "feddyn", "rounds": {"1": 2}},
        {"algorithm": "feddyn", "rounds": [[3 * n, 3 * n] for n in range(1, 66)]},
    ],
)  # fmt: skip
def test_what_nobody_writes_is_refused(said: Any) -> None:
    with pytest.raises(ModelError):
        Lineage.of_json(said)
