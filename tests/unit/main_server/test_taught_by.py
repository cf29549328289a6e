"""What a card says of the pictures that a version was made from, and what it keeps to itself."""

from __future__ import annotations

import pytest

from fanlight.services.main_server.taught_by import Taught, about


@pytest.mark.parametrize(
    ("number", "said"), [(0, 0), (7, 7), (99, 99), (101, 100), (1_249, 1_200), (4_051, 4_100), (9_960, 10_000)]
)
def test_numbers_are_shown_with_two_digits(number: int, said: int) -> None:
    assert about(number) == said


def test_one_picture_more_or_less_does_not_show() -> None:
    shown = [Taught(12, pictures, (pictures - 300, 300)).shown(("a", "b"), demo=False) for pictures in (1_210, 1_211)]
    assert shown[0] == shown[1] == {"total": 1_200, "per_class": {"a": 910, "b": 300}, "exact": False}


def test_few_devices_and_rare_classes_stay_hidden() -> None:
    assert Taught(4, 1_000).shown(("a", "b"), demo=False) is None
    rare = Taught(12, 1_000, (991, 9)).shown(("a", "b"), demo=False)
    assert rare == {"total": 1_000, "per_class": None, "exact": False}


def test_a_demonstration_shows_all() -> None:
    assert Taught(2, 13, (9, 4)).shown(("a", "b"), demo=True) == {
        "total": 13,
        "per_class": {"a": 9, "b": 4},
        "exact": True,
    }
    assert Taught(2, 13).shown(("a", "b"), demo=True) == {"total": 13, "per_class": None, "exact": True}
