from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fanlight.core.ring import add_into, centre, check_vector, from_bytes, subtract_into, to_bytes, to_ring
from fanlight.errors import MalformedMessage


def integers(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(("bits", "word"), [(32, np.uint32), (64, np.uint64)])
def test_negative_numbers_are_the_upper_half(bits: int, word: type) -> None:
    half = 1 << (bits - 1)
    x = to_ring(integers(0, 1, -1, half - 1, -half), bits)
    assert x.dtype == word
    assert x.tolist() == [0, 1, 2 * half - 1, half - 1, half]
    assert centre(x).tolist() == [0, 1, -1, half - 1, -half]
    assert centre(x).dtype == np.int64


@pytest.mark.parametrize("bits", range(2, 33))
def test_small_rings_use_the_low_bits_of_a_word(bits: int) -> None:
    half = 1 << (bits - 1)
    x = to_ring(integers(0, 1, -1, half - 1, -half), bits)
    assert x.dtype == np.uint32
    assert (x % np.uint32(2 * half) if bits < 32 else x).tolist() == [0, 1, 2 * half - 1, half - 1, half]
    assert centre(x, bits).tolist() == [0, 1, -1, half - 1, -half]
    assert centre(x % np.uint32(2 * half) if bits < 32 else x, bits).tolist() == [0, 1, -1, half - 1, -half]
    for outside in (half, -half - 1):
        with pytest.raises(MalformedMessage, match=f"{bits} bits"):
            to_ring(integers(outside), bits)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_a_value_outside_the_ring_is_refused_and_named(value: int) -> None:
    with pytest.raises(MalformedMessage, match=str(value)):
        to_ring(integers(0, value), 32)


def test_other_rings_and_types_are_refused() -> None:
    for bits in (1, 33, 63):
        with pytest.raises(MalformedMessage, match=f"{bits} bits"):
            to_ring(integers(0), bits)
        with pytest.raises(MalformedMessage, match=f"{bits} bits"):
            centre(np.zeros(1, np.uint32), bits)
    with pytest.raises(MalformedMessage, match="uint64"):
        centre(np.zeros(1, np.uint64), 16)
    with pytest.raises(MalformedMessage, match="float64"):
        to_ring(np.zeros(1), 32)  # type: ignore[arg-type]
    with pytest.raises(MalformedMessage, match="int64"):
        centre(integers(0))


def test_sums_and_differences_wrap_around_in_place() -> None:
    acc = np.array([2**32 - 1, 5], dtype=np.uint32)
    same = acc
    add_into(acc, np.array([2, 1], dtype=np.uint32))
    assert same.tolist() == [1, 6]
    subtract_into(acc, np.array([2, 1], dtype=np.uint32))
    assert same.tolist() == [2**32 - 1, 5]


@pytest.mark.parametrize("operation", [add_into, subtract_into])
@pytest.mark.parametrize(
    "other",
    [
        np.ones(1, dtype=np.uint32),
        np.ones((1, 2), dtype=np.uint32),
        np.ones(2, dtype=np.uint64),
        np.ones(2, dtype=np.int32),
        np.ones(2),
    ],
)
def test_what_does_not_match_is_refused_and_changes_nothing(operation: Any, other: Any) -> None:
    acc = np.array([3, 4], dtype=np.uint32)
    with pytest.raises(MalformedMessage):
        operation(acc, other)
    assert acc.tolist() == [3, 4]


def test_a_read_only_or_signed_accumulator_is_refused() -> None:
    fixed = np.zeros(2, dtype=np.uint32)
    fixed.flags.writeable = False
    with pytest.raises(MalformedMessage, match="read-only"):
        add_into(fixed, np.ones(2, dtype=np.uint32))
    with pytest.raises(MalformedMessage, match="int64"):
        add_into(integers(0), integers(1))
    with pytest.raises(MalformedMessage):
        check_vector(fixed, 32)


def test_a_vector_travels_as_little_endian_words() -> None:
    vector = np.array([1, 2**32 - 2], np.uint32)
    assert bytes(to_bytes(vector)) == bytes.fromhex("01000000feffffff")
    np.testing.assert_array_equal(from_bytes(to_bytes(vector)), vector)
    assert bytes(to_bytes(np.zeros(0, np.uint32))) == b""


def test_what_is_left_behind_the_last_word_is_no_word() -> None:
    assert from_bytes(b"\x01\0\0\0\x02\0").tolist() == [1]
