"""What holds of a home's head and of its threshold, whatever the pictures and the scores are."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fanlight.learning.heads import HeadKind
from fanlight.learning.own_classes import Home
from fanlight.learning.unknown import threshold
from tests.homes import global_head, pictures_of

COUNTS = st.dictionaries(st.integers(0, 2), st.integers(1, 6), min_size=1)


@given(counts=COUNTS, kind=st.sampled_from(HeadKind), seed=st.integers(0, 99))
def test_without_own_names_every_ranking_of_the_tasks_classes_stays(
    counts: dict[int, int], kind: HeadKind, seed: int
) -> None:
    x, y = pictures_of(counts, seed)
    model = global_head(3, kind)
    home = Home.of(model, (), x, y)
    head = home.head(home.solve())
    new, _ = pictures_of(dict.fromkeys(range(6), 5), seed + 1)
    before, after = (each.head.logits(each.read(new)) for each in (model, head))
    assert np.array_equal(np.argsort(before, axis=1), np.argsort(after, axis=1))


@given(counts=COUNTS, own=st.integers(1, 6), kind=st.sampled_from(HeadKind), seed=st.integers(0, 99))
def test_pictures_of_the_tasks_classes_change_the_head_only_through_own_ones(
    counts: dict[int, int], own: int, kind: HeadKind, seed: int
) -> None:
    """Whatever label of the task's a picture has: nothing is taught of it, so the task's columns are the same."""
    x, y = pictures_of({**counts, 3: own}, seed)
    relabelled = np.where(y < 3, (y + 1) % 3, y)
    model = global_head(3, kind)
    same_size = np.bincount(y[y < 3], minlength=3).tolist() == np.bincount(relabelled[y < 3], minlength=3).tolist()
    heads = [(home := Home.of(model, ("Minka",), x, each)).head(home.solve()) for each in (y, relabelled)]
    if same_size:
        assert np.allclose(heads[0].weight, heads[1].weight, atol=1e-5)
    assert all(np.isfinite(head.weight).all() for head in heads)


@given(
    scores=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=80),
    percent=st.integers(1, 50),
)
def test_of_exchangeable_strangers_no_more_pass_than_promised(scores: list[float], percent: int) -> None:
    """Each of n + 1 plays the new one in turn, the others calibrate: that is what exchangeable means, counted out."""
    values = np.array(scores)
    passed, promised = 0, 0.0
    for new in range(values.size):
        found = threshold(np.delete(values, new), percent / 100)
        passed += bool(values[new] > found.score)
        promised = found.promised
    assert passed <= promised * values.size + 1e-9
    least = 1 / values.size
    assert promised <= max(percent / 100 * (1 + 1e-9), least)


@given(strangers=st.integers(1, 400), percent=st.integers(1, 50))
def test_what_is_hardly_exceeded_is_above_what_is_promised_and_gets_closer_with_more(
    strangers: int, percent: int
) -> None:
    few, many = (threshold(np.arange(float(n)), percent / 100) for n in (strangers, 4 * strangers + 3))
    for found in (few, many):
        assert found.promised < found.worst <= 1
    assert many.worst - many.promised <= few.worst - few.promised + 1e-9
    assert math.isfinite(few.score)
