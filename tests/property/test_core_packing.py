"""What must hold for every width: packing loses nothing, and sums of packed masked vectors are the plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fanlight.core.masks import MaskStream, add_mask
from fanlight.core.packing import pack, padding_is_zero, pieces, unpack
from fanlight.core.ring import add_into, centre, from_bytes, to_bytes, to_ring, zeros
from fanlight.core.segments import (
    FEWEST_UPDATE_BITS,
    MOST_UPDATE_BITS,
    Segment,
    check_layout,
    layout_length,
    layout_words,
    packed_update,
    slices,
)
from fanlight.errors import SettingsError

KINDS = ("weight", "update", "counts", "loss", "supporters", "within_clip")
BITS = st.integers(2, 32)
LENGTHS = st.integers(1, 300)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Segment, ...]:
    """Segments of mixed widths."""
    widths = draw(st.lists(st.tuples(LENGTHS, BITS), min_size=1, max_size=len(KINDS)))
    return tuple(
        Segment(kind, length, bits, 1, 1, 0, 1, "exact") for kind, (length, bits) in zip(KINDS, widths, strict=False)
    )


def drawn(layout: tuple[Segment, ...], seed: int) -> NDArray[np.uint32]:
    """Any words, and not only what fits the rings."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 1 << 32, layout_length(layout), dtype=np.uint32)


def low_bits(layout: tuple[Segment, ...], vector: NDArray[np.uint32]) -> list[int]:
    bits = np.concatenate([np.full(segment.length, segment.bits, np.uint64) for segment in layout])
    found: list[int] = (vector.astype(np.uint64) % (np.uint64(1) << bits)).tolist()
    return found


@given(layout=layouts(), seed=st.integers(0, 2**32 - 1))
def test_packing_keeps_the_low_bits_in_their_places(layout: tuple[Segment, ...], seed: int) -> None:
    vector = drawn(layout, seed)
    packed = pack(vector, layout)
    assert packed.shape == (layout_words(layout),)
    assert padding_is_zero(packed, layout)
    assert unpack(packed, layout).tolist() == low_bits(layout, vector)
    at = 0
    for segment, place in zip(layout, slices(layout).values(), strict=True):  # as one long number, by definition
        numbers = low_bits(layout, vector)[place]
        whole = sum(number << (segment.bits * index) for index, number in enumerate(numbers))
        words = bytes(to_bytes(packed[at : at + segment.words]))
        assert int.from_bytes(words, "little") == whole
        at += segment.words


@pytest.mark.parametrize("bits", range(2, 33))
@given(length=LENGTHS, seed=st.integers(0, 2**32 - 1))
def test_every_width_comes_back(bits: int, length: int, seed: int) -> None:
    layout = (Segment("update", length, bits, 1, 1, 0, 1, "exact"),)
    vector = np.random.default_rng(seed).integers(0, 1 << bits, length, dtype=np.uint32)
    assert np.array_equal(unpack(pack(vector, layout), layout), vector)


@given(layout=layouts(), seed=st.integers(0, 2**32 - 1), most_words=st.integers(64, 400))
def test_a_packed_vector_can_be_read_in_pieces(layout: tuple[Segment, ...], seed: int, most_words: int) -> None:
    packed = pack(drawn(layout, seed), layout)
    stream, read, whole = memoryview(to_bytes(packed)), 0, np.zeros(layout_length(layout), np.uint32)
    for piece in pieces(layout, most_words):
        assert piece.words <= max(most_words, 64)
        whole[piece.start : piece.stop] = piece.unpack(from_bytes(stream[4 * read : 4 * (read + piece.words)]))
        read += piece.words
    assert read == len(packed)
    assert np.array_equal(whole, unpack(packed, layout))


@given(layout=layouts(), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_any_bit_of_the_padding_is_noticed(layout: tuple[Segment, ...], seed: int, data: st.DataObject) -> None:
    packed = pack(drawn(layout, seed), layout)
    bit = data.draw(st.integers(0, 32 * len(packed) - 1))
    packed[bit // 32] ^= np.uint32(1 << bit % 32)
    ends = np.cumsum([32 * segment.words for segment in layout])
    at = int(np.searchsorted(ends, bit, side="right"))
    inside = bit - (int(ends[at - 1]) if at else 0)
    assert padding_is_zero(packed, layout) == (inside < layout[at].length * layout[at].bits)


@given(
    count=st.integers(1, 5),
    bits=st.sampled_from([*range(4, 33), 64]),
    length=LENGTHS,
    seed=st.integers(0, 2**32 - 1),
    keys=st.lists(st.binary(min_size=32, max_size=32), min_size=10, max_size=10),
    most_words=st.integers(64, 200),
)
def test_the_sum_of_packed_masked_vectors_is_the_plain_sum(
    count: int, bits: int, length: int, seed: int, keys: list[bytes], most_words: int
) -> None:
    """As devices, aggregator and main compute it: two masks, the aggregator in pieces, the sum packed once more."""
    most = ((1 << (bits - 1)) - 1) // count
    whole = max(bits, 32)
    layout = (
        Segment("weight", 1, whole, 1, 1, 0, 10_000, "exact"),
        Segment("update", length, bits, 1, 1, -most, most, "stochastic"),
        Segment("supporters", 2, whole, 1, 1, 0, 1, "exact"),
    )
    check_layout(layout, count)
    generator, total = np.random.default_rng(seed), zeros(layout_length(layout), layout[0].bits)
    plain = np.zeros(layout_length(layout), np.int64)
    for main, aggregator in zip(keys[:count], keys[5:], strict=False):
        parts = [generator.integers(s.lo, s.hi, s.length, endpoint=True) for s in layout]
        plain += np.concatenate(parts)
        vector = np.concatenate([to_ring(part, s.bits) for part, s in zip(parts, layout, strict=True)])
        add_mask(vector, main)
        add_mask(vector, aggregator)
        y, mask, read = bytes(to_bytes(pack(vector, layout))), MaskStream(aggregator), 0
        for piece in pieces(layout, most_words):
            part = piece.unpack(from_bytes(y[4 * read : 4 * (read + piece.words)]))
            mask.subtract_from(part)
            add_into(total[piece.start : piece.stop], part)
            read += piece.words
    received = unpack(pack(total, layout), layout)
    for main in keys[:count]:
        MaskStream(main).subtract_from(received)
    places = slices(layout)
    found = [centre(received[places[s.kind]], s.bits).tolist() for s in layout]
    assert found == [plain[places[s.kind]].tolist() for s in layout]


@given(n_max=st.integers(1, 1 << 21), update_bits=st.integers(FEWEST_UPDATE_BITS, MOST_UPDATE_BITS))
def test_a_packed_ring_is_as_small_as_its_sums_allow(n_max: int, update_bits: int) -> None:
    steps = 2 ** (update_bits - 1) - 1
    try:
        found, bits = packed_update(n_max, update_bits)
    except SettingsError:
        assert n_max * steps >= 2**30
        return
    assert found == steps
    assert 2 ** (bits - 2) <= n_max * steps < 2 ** (bits - 1) <= 2**30
