"""What is published beside a class that is held back: parts that tell nothing of it, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fanlight.learning.heads import SoftmaxHead
from fanlight.learning.held_back import NONE, HeldBack

K = 5
ROWS = 7


@st.composite
def held_back(draw: st.DrawFn) -> HeldBack:
    return HeldBack(np.array(draw(st.lists(st.booleans(), min_size=K, max_size=K))))


def whole(seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(-(2**31), 2**31, (ROWS, K))


@given(hidden=held_back(), seed=st.integers(0, 99))
def test_no_bit_of_what_is_published_depends_on_the_rows_that_are_held_back_or_on_what_the_others_add_up_to(
    hidden: HeldBack, seed: int
) -> None:
    rows, other, common = whole(seed), whole(seed + 100), whole(seed + 200)[:, :1]
    same_differences = np.where(hidden.classes, other, rows + common)
    if hidden:
        assert hidden.published(rows).tobytes() == hidden.published(same_differences).tobytes()
    else:
        assert np.array_equal(hidden.published(rows), rows)


@given(hidden=held_back(), seed=st.integers(0, 99))
def test_what_is_published_differs_by_class_as_the_rows_do_and_adds_up_to_nothing(hidden: HeldBack, seed: int) -> None:
    rows, others = whole(seed), ~hidden.classes
    found = hidden.published(rows)
    np.testing.assert_allclose(np.diff(found[:, others]), np.diff(rows[:, others]), rtol=1e-12, atol=1e-3)
    assert not found[:, hidden.classes].any()
    if hidden:
        assert np.abs(found.sum(axis=1)).max() < 1e-4


def test_where_one_device_is_enough_only_rows_of_classes_that_nobody_has_stay() -> None:
    found = HeldBack.of(np.array([3, 0, 1, 2, 9]), 1).published(whole(1))
    assert np.array_equal(found, whole(1) * [1, 0, 1, 1, 1])


@pytest.mark.parametrize(("least", "held"), [(1, "01000"), (2, "01100"), (3, "01110"), (10, "11111")])
def test_held_back_is_what_fewer_devices_have(least: int, held: str) -> None:
    found = HeldBack.of(np.array([3, 0, 1, 2, 9]), least)
    assert "".join(map(str, found.classes.astype(int))) == held
    assert found.hides == (least > 1)
    assert found


def test_of_numbers_without_classes_nothing_is_held_back() -> None:
    assert not NONE
    assert np.array_equal(NONE.published(whole(3).reshape(-1, 1)), whole(3).reshape(-1, 1))


def test_no_choice_among_published_classes_changes() -> None:
    draw, hidden = np.random.default_rng(4), HeldBack(np.array([False, True, False, False, True]))
    weight, bias = draw.normal(size=(30, K)), draw.normal(size=K)
    x = draw.normal(size=(200, 30)).astype(np.float32)

    def chosen(head: SoftmaxHead) -> NDArray[np.intp]:
        among = np.flatnonzero(~hidden.classes)
        found: NDArray[np.intp] = among[head.logits(x)[:, among].argmax(axis=1)]
        return found

    published = SoftmaxHead(*(hidden.published(part).astype(np.float32) for part in (weight, bias)))
    assert np.array_equal(chosen(published), chosen(SoftmaxHead(weight.astype(np.float32), bias.astype(np.float32))))
    assert np.array_equal(published.logits(x).argmax(axis=1), chosen(published)), "one that is held back is chosen"
