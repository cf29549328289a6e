"""Packed vectors by hand: which bit lies where, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.packing import Piece, is_packed, pack, padding_is_zero, pieces, unpack
from fanlight.core.segments import Segment, layout_length, layout_words
from fanlight.errors import MalformedMessage

WEIGHT = Segment("weight", 1, 32, 1, 1, 0, 1, "exact")
COUNTS = Segment("counts", 3, 32, 1, 1, 0, 1, "exact")


def update(length: int, bits: int) -> Segment:
    return Segment("update", length, bits, 1, 1, 0, 0, "stochastic")


def vector(*numbers: int) -> NDArray[np.uint32]:
    return np.array(numbers, np.uint32)


def test_the_lowest_bits_come_first_and_a_segment_ends_with_a_word() -> None:
    layout = (WEIGHT, update(3, 12), COUNTS)
    plain = vector(7, 0xABC, 0x123, 0xDEF, 1, 2, 3)
    packed = pack(plain, layout)
    assert [f"{word:08x}" for word in packed] == ["00000007", "ef123abc", "0000000d", *("0000000" + n for n in "123")]
    assert unpack(packed, layout).tolist() == plain.tolist()


def test_what_stands_above_the_ring_is_not_sent() -> None:
    layout = (update(3, 12),)
    dirty = vector(0xFFFFFABC, 0xFFFFF123, 0xFFFFFDEF)
    assert pack(dirty, layout).tolist() == pack(dirty & np.uint32(0xFFF), layout).tolist()


def test_a_vector_of_words_is_sent_as_it_is() -> None:
    layout, plain = (WEIGHT, update(9, 32), COUNTS), np.arange(13, dtype=np.uint32)
    assert not is_packed(layout)
    assert pack(plain, layout) is plain
    assert unpack(plain, layout) is plain
    assert list(pieces(layout)) == [Piece(0, 13, 32)]
    assert list(pieces(layout, 64)) == [Piece(0, 13, 32)]


def test_words_around_a_packed_segment_are_pieces_of_their_own() -> None:
    layout = (WEIGHT, update(200, 26), COUNTS, Segment("loss", 2, 32, 1, 1, 0, 1, "exact"))
    assert is_packed(layout)
    assert list(pieces(layout)) == [Piece(0, 1, 32), Piece(1, 201, 26), Piece(201, 206, 32)]
    cut = list(pieces(layout, 64))
    assert cut == [Piece(0, 1, 32), *(Piece(1 + at, 1 + min(at + 64, 200), 26) for at in (0, 64, 128, 192)), cut[-1]]
    assert sum(piece.words for piece in cut) == layout_words(layout)


@pytest.mark.parametrize("words", [1, 5, 7, 0])
def test_other_than_the_layouts_words_are_refused(words: int) -> None:
    layout = (WEIGHT, update(3, 12), COUNTS)
    with pytest.raises(MalformedMessage, match="6 words"):
        unpack(np.zeros(words, np.uint32), layout)
    with pytest.raises(MalformedMessage, match="7 coordinates"):
        pack(np.zeros(words if words != 7 else 8, np.uint32), layout)


@pytest.mark.parametrize("other", [np.zeros(6, np.int64), np.zeros((6, 1), np.uint32), np.zeros((1, 6), np.uint32)])
def test_what_is_no_vector_of_words_is_refused(other: NDArray[np.uint32]) -> None:
    with pytest.raises(MalformedMessage):
        unpack(other, (WEIGHT, update(3, 12), COUNTS))


@pytest.mark.parametrize("bit", range(32))
def test_each_bit_of_the_padding_is_looked_at(bit: int) -> None:
    layout = (WEIGHT, update(3, 12), COUNTS)
    words = vector(2**32 - 1, 2**32 - 1, 0, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    words[2] = 1 << bit
    assert padding_is_zero(words, layout) == (bit < 4)
    assert padding_is_zero(words[2:4], layout, 2) == (bit < 4)
    assert padding_is_zero(words[:2], layout)
    assert padding_is_zero(words[3:], layout, 3)
    if bit >= 4:
        with pytest.raises(MalformedMessage, match="behind the last"):
            unpack(words, layout)


def test_whole_words_have_no_padding() -> None:
    assert padding_is_zero(np.full(13, 2**32 - 1, np.uint32), (update(16, 26),))


def test_a_long_vector_is_packed_as_a_short_one() -> None:
    """More than what is worked on at once, and a rest."""
    layout, plain = (update((1 << 17) + 77, 20),), np.arange((1 << 17) + 77, dtype=np.uint32)
    packed = pack(plain, layout)
    assert np.array_equal(packed[:40], pack(plain[:64], (update(64, 20),)))
    assert np.array_equal(packed[81920:], pack(plain[1 << 17 :], (update(77, 20),)))
    assert np.array_equal(unpack(packed, layout), plain)
    assert layout_length(layout) == len(plain)
