from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fanlight.core.counter_mode import PIECE_BYTES
from fanlight.core.masks import MaskStream, add_mask, derive_mask_key, subtract_mask
from fanlight.errors import MalformedMessage

KEY = derive_mask_key(bytes(32), bytes(32), b"mask-main")
LONG = PIECE_BYTES // 4 + 5


def mask(length: int, key: bytes = KEY) -> np.ndarray[Any, np.dtype[np.uint32]]:
    vector = np.zeros(length, dtype=np.uint32)
    add_mask(vector, key)
    return vector


@pytest.mark.parametrize(
    ("seed", "salt", "info"),
    [
        (b"\x01" + bytes(31), bytes(32), b"mask-main"),
        (bytes(32), b"\x01" + bytes(31), b"mask-main"),
        (bytes(32), bytes(32), b"mask-agg"),
    ],
)
def test_seed_round_and_label_each_change_the_key(seed: bytes, salt: bytes, info: bytes) -> None:
    assert derive_mask_key(seed, salt, info) != KEY


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(MalformedMessage, match=f"not {length}"):
        derive_mask_key(bytes(length), bytes(32), b"mask-main")


def test_what_was_added_is_taken_off() -> None:
    vector = np.arange(LONG, dtype=np.uint32)
    add_mask(vector, KEY)
    assert np.count_nonzero(vector == np.arange(LONG)) < 5
    subtract_mask(vector, KEY)
    assert np.array_equal(vector, np.arange(LONG))


def test_pieces_of_any_length_join_to_one_stream() -> None:
    vector = np.zeros(LONG, dtype=np.uint32)
    stream = MaskStream(KEY)
    for piece in np.split(vector, [0, 1, 4, LONG - 2]):
        stream.add_to(piece)
    assert np.array_equal(vector, mask(LONG))


def test_a_stream_goes_on_when_it_changes_direction() -> None:
    vector = np.zeros(8, dtype=np.uint32)
    stream = MaskStream(KEY)
    stream.add_to(vector[:4])
    stream.subtract_from(vector[4:])
    assert np.array_equal(vector[:4], mask(8)[:4])
    assert np.array_equal(vector[4:], np.zeros(4, dtype=np.uint32) - mask(8)[4:])


def test_a_strided_view_is_masked_where_it_lies() -> None:
    vector = np.zeros(6, dtype=np.uint32)
    add_mask(vector[::2], KEY)
    assert np.array_equal(vector[::2], mask(3))
    assert not vector[1::2].any()


def test_in_the_ring_of_64_bits_an_element_takes_two_words_the_lower_half_first() -> None:
    vector = np.full(5, 7, dtype=np.uint64)
    add_mask(vector, KEY)
    words = mask(10).astype(np.uint64)
    assert np.array_equal(vector, 7 + words[::2] + (words[1::2] << np.uint64(32)))
    subtract_mask(vector, KEY)
    assert vector.tolist() == [7] * 5


def test_long_elements_are_masked_the_same_in_whatever_pieces() -> None:
    length = (1 << 16) + 11  # more than one piece of the stream
    whole, parts, stream = np.zeros(length, np.uint64), np.zeros(length, np.uint64), MaskStream(KEY)
    add_mask(whole, KEY)
    for piece in (parts[:3], parts[3:70_000], parts[70_000:]):
        stream.add_to(piece)
    assert np.array_equal(whole, parts)


def test_a_mask_looks_uniform() -> None:
    words = mask(1 << 16)
    bits = np.unpackbits(words.view(np.uint8)).mean()
    assert abs(bits - 0.5) < 0.002  # six standard deviations; the key is fixed
    assert len(np.unique(words)) > 65_500


@pytest.mark.parametrize("method", ["add_to", "subtract_from"])
@pytest.mark.parametrize(
    "piece", [np.zeros(3, dtype=np.int32), np.zeros(3, dtype=np.int64), np.zeros((3, 1), dtype=np.uint32)]
)
def test_other_arrays_are_refused_before_the_stream_moves(method: str, piece: Any) -> None:
    stream = MaskStream(KEY)
    with pytest.raises(MalformedMessage):
        getattr(stream, method)(piece)
    vector = np.zeros(3, dtype=np.uint32)
    stream.add_to(vector)
    assert np.array_equal(vector, mask(3))


def test_a_read_only_vector_and_a_short_key_are_refused() -> None:
    vector = np.zeros(3, dtype=np.uint32)
    vector.flags.writeable = False
    with pytest.raises(MalformedMessage, match="writable"):
        add_mask(vector, KEY)
    with pytest.raises(MalformedMessage, match="32"):
        subtract_mask(np.zeros(3, dtype=np.uint32), KEY[:16])
