"""What must hold for every vector, cohort and split: sums under masks are the plain integer sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fanlight.core.masks import MaskStream, add_mask, subtract_mask
from fanlight.core.ring import add_into, centre, subtract_into, to_ring

KEYS = st.binary(min_size=32, max_size=32)
WORDS = st.integers(0, 2**32 - 1)


def vectors(bits: int) -> st.SearchStrategy[list[int]]:
    half = 1 << (bits - 1)
    return st.lists(st.integers(-half, half - 1), max_size=20)


@given(bits_and_values=st.sampled_from([32, 64]).flatmap(lambda bits: st.tuples(st.just(bits), vectors(bits))))
def test_into_the_ring_and_back(bits_and_values: tuple[int, list[int]]) -> None:
    bits, values = bits_and_values
    q = np.array(values, dtype=np.int64)
    assert to_ring(q, bits).tolist() == [value % 2**bits for value in values]
    assert centre(to_ring(q, bits)).tolist() == values


@given(pairs=st.lists(st.tuples(WORDS, WORDS), min_size=1))
def test_ring_arithmetic_is_that_of_integers_modulo(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(side, dtype=np.uint32) for side in zip(*pairs, strict=True))
    total, difference = a.copy(), a.copy()
    add_into(total, b)
    subtract_into(difference, b)
    assert total.tolist() == [(x + y) % 2**32 for x, y in pairs]
    assert difference.tolist() == [(x - y) % 2**32 for x, y in pairs]


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[Any, list[tuple[bytes, bytes]]]:
    """(n, d) integers whose column sums stay below half the ring, and two mask keys a device."""
    count, length = draw(st.integers(1, 6)), draw(st.integers(1, 30))
    most = (2**31 - 1) // count
    row = st.lists(st.integers(-most, most), min_size=length, max_size=length)
    rows = draw(st.lists(row, min_size=count, max_size=count))
    keys = draw(st.lists(st.tuples(KEYS, KEYS), min_size=count, max_size=count))
    return np.array(rows, dtype=np.int64), keys


@given(cohort=cohorts())
def test_the_sum_under_two_masks_is_the_plain_sum_bit_for_bit(cohort: tuple[Any, list[tuple[bytes, bytes]]]) -> None:
    rows, keys = cohort
    total = np.zeros(rows.shape[1], dtype=np.uint32)
    for q, (key_main, key_aggregator) in zip(rows, keys, strict=True):
        masked = to_ring(q, 32)
        add_mask(masked, key_main)
        add_mask(masked, key_aggregator)
        add_into(total, masked)
    for _, key_aggregator in keys:
        subtract_mask(total, key_aggregator)
    main_masks = np.zeros_like(total)
    for key_main, _ in reversed(keys):
        add_mask(main_masks, key_main)
    subtract_into(total, main_masks)
    assert centre(total).tolist() == rows.sum(axis=0).tolist()


@given(key=KEYS, length=st.integers(0, 200), data=st.data())
def test_a_mask_is_the_same_in_any_pieces(key: bytes, length: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=6)))
    whole, pieces = np.zeros(length, dtype=np.uint32), np.zeros(length, dtype=np.uint32)
    add_mask(whole, key)
    stream = MaskStream(key)
    for piece in np.split(pieces, cuts):
        stream.add_to(piece)
    assert np.array_equal(whole, pieces)
