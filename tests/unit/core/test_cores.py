from __future__ import annotations

import threading

import numpy as np
import pytest

from fanlight.core import cores
from fanlight.core.cores import on_all_cores, usable_cores
from fanlight.core.counter_mode import PIECE_BYTES
from fanlight.core.masks import MaskStream, add_mask, subtract_masks, unmask_sum
from fanlight.core.ring import WORD_BYTES
from fanlight.errors import MalformedMessage

KEYS = [bytes([number]) * 32 for number in range(3)]
LONG = 2 * PIECE_BYTES // 4 + 7


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)


@pytest.mark.usefixtures("two_cores")
def test_results_come_in_the_order_of_the_items_from_several_threads() -> None:
    both = threading.Barrier(2)

    def work(item: int) -> int:
        both.wait(60)  # nobody goes on alone
        return -item

    assert on_all_cores(work, range(6)) == [0, -1, -2, -3, -4, -5]


@pytest.mark.usefixtures("two_cores")
def test_one_item_is_worked_on_where_it_is() -> None:
    assert on_all_cores(lambda _item: threading.current_thread(), [1]) == [threading.current_thread()]
    assert on_all_cores(lambda item: item, []) == []


@pytest.mark.usefixtures("two_cores")
def test_the_first_error_is_raised() -> None:
    def work(item: int) -> int:
        if item % 2:
            raise MalformedMessage(f"item {item}")
        return item

    with pytest.raises(MalformedMessage, match="item 1"):
        on_all_cores(work, range(6))


def test_there_is_a_core() -> None:
    assert usable_cores() >= 1


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 5, 1023, LONG - 2])
def test_a_stream_begins_anywhere(start: int) -> None:
    whole, piece = np.zeros(LONG, np.uint32), np.zeros(LONG - start, np.uint32)
    add_mask(whole, KEYS[0])
    MaskStream(KEYS[0], start).add_to(piece)
    assert np.array_equal(piece, whole[start:])


def masked() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    vector = np.arange(LONG, dtype=np.uint32)
    for key in KEYS:
        add_mask(vector, key)
    return vector


@pytest.mark.parametrize("cut", [0, 1, 6, 4097])
def test_all_masks_come_off_a_piece(cut: int) -> None:
    vector = masked()
    for start, piece in ((0, vector[:cut]), (cut, vector[cut:])):
        subtract_masks(piece, KEYS, start)
    assert np.array_equal(vector, np.arange(LONG))


@pytest.mark.usefixtures("two_cores")
def test_a_sum_is_unmasked_by_several_threads() -> None:
    vector = masked()
    unmask_sum(vector, KEYS)
    assert np.array_equal(vector, np.arange(LONG))
    assert len(vector) > PIECE_BYTES // WORD_BYTES
