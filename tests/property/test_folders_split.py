"""The split of a class: rules 1 to 3 of ``learning.split``, for any pictures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanlight.learning.split import split_in_order

HASHES = st.sets(st.binary(min_size=4, max_size=4), min_size=1, max_size=60)


def parts_of(hashes: set[bytes]) -> dict[bytes, int]:
    return {item: part for part, items in enumerate(split_in_order(sorted(hashes))) for item in items}


@given(HASHES)
def test_each_picture_has_exactly_one_part(hashes: set[bytes]) -> None:
    parts = split_in_order(sorted(hashes))
    assert sum(len(part) for part in parts) == len(hashes)
    assert set().union(*parts) == hashes


@given(HASHES)
def test_never_test_pictures_only(hashes: set[bytes]) -> None:
    train, valid, test = split_in_order(sorted(hashes))
    assert len(train) >= 1
    assert len(test) >= (len(hashes) >= 2)
    assert abs(len(train) - 0.6 * len(hashes)) <= 1
    assert abs(len(valid) - 0.2 * len(hashes)) <= 1


@given(HASHES, st.binary(min_size=4, max_size=4))
def test_a_new_picture_moves_at_most_two_others(hashes: set[bytes], new: bytes) -> None:
    before, after = parts_of(hashes - {new}), parts_of(hashes | {new})
    moved = [item for item, part in before.items() if after[item] != part]
    assert len(moved) <= 2


@given(st.sets(st.binary(min_size=4, max_size=4), min_size=5, max_size=60), st.binary(min_size=4, max_size=4))
def test_no_training_picture_becomes_a_test_picture(hashes: set[bytes], new: bytes) -> None:
    before, after = parts_of(hashes - {new}), parts_of(hashes | {new})
    assert all(abs(after[item] - part) <= 1 for item, part in before.items())
