"""When training has stopped paying, and when an open round waits no longer."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.services.main_server.stopping_rules import Score, best, has_dropped, rounds_without_better
from fanlight.services.main_server.stragglers import WaitingRules

counts = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.none() | st.floats(0, 9)), min_size=1, max_size=12
)


def scores_of(found: list[tuple[int, int, float | None]]) -> list[Score]:
    """Versions 0, 1, …; each with hits and misses."""
    return [Score(version, hits, hits + misses, loss) for version, (hits, misses, loss) in enumerate(found)]


def accuracies(*percent: int) -> list[Score]:
    return [Score(version, share, 100, 1.0) for version, share in enumerate(percent)]


@given(counts)
def test_nothing_is_better_than_the_best_and_nothing_came_after_it_that_was(
    found: list[tuple[int, int, float | None]],
) -> None:
    scores = scores_of(found)
    chosen, fruitless = best(scores), rounds_without_better(scores)
    assert all(score.accuracy <= chosen.accuracy for score in scores)
    assert all(
        (score.loss or 0) >= (chosen.loss or 0)
        for score in scores
        if score.accuracy == chosen.accuracy and chosen.loss is not None and score.loss is not None
    )
    first = scores[len(scores) - 1 - fruitless]
    assert first.accuracy == chosen.accuracy
    assert all(score.accuracy < first.accuracy for score in scores[: first.version])


@given(counts, st.integers(0, 100))
def test_a_drop_is_one_from_the_best_before_exactly(found: list[tuple[int, int, float | None]], points: int) -> None:
    scores = scores_of(found)
    earlier, newest = scores[:-1], scores[-1]
    highest = max((score.accuracy for score in earlier), default=Fraction(-1))
    expected = bool(newest.total) and highest - newest.accuracy > Fraction(points, 100)
    assert has_dropped(scores, points) == expected


@pytest.mark.parametrize(
    ("scores", "chosen", "fruitless"),
    [
        (accuracies(50), 0, 0),
        (accuracies(50, 60, 70), 2, 0),
        (accuracies(50, 70, 60, 69), 1, 2),
        (accuracies(50, 70, 70, 70), 3, 2),  # as good is not better; the newest of equals
        ([Score(0, 7, 10, 0.5), Score(1, 70, 100, 0.4), Score(2, 7, 10, 0.6)], 1, 2),  # the least loss of equals
        ([Score(0, 0, 0), Score(1, 0, 0)], 1, 1),  # nobody has held-out pictures
        ([Score(0, 0, 0), Score(1, 0, 5, 2.0)], 1, 0),
    ],
)
def test_which_is_best(scores: list[Score], chosen: int, fruitless: int) -> None:
    assert (best(scores).version, rounds_without_better(scores)) == (chosen, fruitless)


@pytest.mark.parametrize(
    ("scores", "dropped"), [(accuracies(80, 70), False), (accuracies(80, 69), True), (accuracies(69), False)]
)
def test_ten_points_are_not_more_than_ten(scores: list[Score], *, dropped: bool) -> None:
    assert has_dropped(scores, 10) == dropped


@given(st.integers(1, 50), st.integers(0, 50), st.floats(0, 200), st.integers(1, 100), st.integers(0, 60))
def test_a_round_that_is_content_stays_so(reported: int, missing: int, waited: float, share: int, enough: int) -> None:
    rules = WaitingRules(100, share, enough)
    content = rules.are_content(reported, missing, waited)
    assert content or rules.are_content(reported, missing, 100)
    assert content or rules.are_content(reported + missing, 0, waited)
    assert not content or rules.are_content(reported + 1, max(0, missing - 1), waited)


@pytest.mark.parametrize(
    ("rules", "reported", "missing", "content"),
    [
        (WaitingRules(60, 100, 0), 9, 1, False),
        (WaitingRules(60, 100, 0), 9, 0, True),
        (WaitingRules(60, 80, 0), 7, 3, False),
        (WaitingRules(60, 80, 0), 8, 2, True),
        (WaitingRules(60, 100, 10), 10, 3, True),
        (WaitingRules(60, 100, 10), 9, 3, False),
    ],
)
def test_when_it_is_content(rules: WaitingRules, reported: int, missing: int, *, content: bool) -> None:
    assert rules.are_content(reported, missing, 59.9) == content
    assert rules.are_content(reported, missing, 60)
