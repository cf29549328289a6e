"""Numbers and bytes that Fanlight's arithmetic must produce, for ever: the file = the reference = the package."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fanlight.core import ring
from fanlight.core.counter_mode import CounterMode
from fanlight.core.masks import add_mask, derive_mask_key, subtract_mask
from fanlight.core.packing import pack, unpack
from fanlight.core.quantise import clip, quantise
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment
from fanlight.errors import MalformedMessage
from fanlight.protocol.contribution import Contribution, encode
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.sealing import mask_key
from fanlight.protocol.statistics import Sums
from tests.vectors import reference
from tests.vectors.files import Case, load

MASKS, QUANTISATION = load("v1/masks"), load("v1/quantisation")


def ring_vector(q: list[int], layout: list[list[Any]]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    at, parts = 0, []
    for _kind, length, bits, *_ in layout:
        parts.append(ring.to_ring(np.array(q[at : at + length], np.int64), bits))
        at += length
    return np.concatenate(parts)


def test_a_mask_key_by_hand() -> None:
    case = MASKS["key by hand"]
    seed, salt, info = (case.given[name] for name in ("seed", "salt", "info"))
    assert reference.extract(salt, seed) == case.expected["extracted"]
    assert derive_mask_key(seed, salt, info) == reference.hkdf(seed, salt, info) == case.expected["mask_key"]


def test_a_mask_is_one_stream_over_the_whole_vector() -> None:
    """A MiB of mask: longer than the pieces in which it is made, none of which may start afresh."""
    case = MASKS["stream"]
    key, expected = case.given["mask_key"], case.expected
    vector = np.zeros(1 << 18, np.uint32)
    add_mask(vector, key)
    assert vector[0] == expected["first_word"]
    for stream in (vector.astype("<u4").tobytes(), reference.keystream(key, 1 << 20)):
        assert stream[:48] == expected["first"]
        assert stream[524_272:524_304] == expected["at_524272"]
        assert reference.sha256(stream) == expected["mib_sha256"]


def test_words_of_64_bits_are_masked_by_the_same_stream() -> None:
    """The lower half of each first, as they travel: a mask of 64-bit words is, byte for byte, that of 32-bit words."""
    key, expected = MASKS["stream"].given["mask_key"], MASKS["stream"].expected
    vector = np.zeros(1 << 17, np.uint64)
    add_mask(vector, key)
    assert vector[0] == int.from_bytes(expected["first"][:8], "little")
    stream = vector.astype("<u8").tobytes()
    assert stream[:48] == expected["first"]
    assert stream[524_272:524_304] == expected["at_524272"]
    assert reference.sha256(stream) == expected["mib_sha256"]


def test_statistics_travel_in_words_of_64_bits() -> None:
    """Two pictures of class 0 with φ = (1, 0) and (-0.6, 0.8), one of class 1 with φ = (0, -1): by hand."""
    gram, class_sums = np.array([1.36, -0.48, 1.64]), np.array([[0.4, 0.0], [0.8, -1.0]])
    sums = Sums.rounded((gram, class_sums, np.array([2, 1])))
    layout = (
        Segment("statistics", 3, 64, 1 << 32, 1, -(5 << 32), 5 << 32, "nearest"),
        Segment("class_sums", 4, 64, 1 << 32, 1, -(5 << 32), 5 << 32, "nearest"),
        Segment("examples", 2, 64, 1, 1, 0, 5, "exact"),
    )
    said = Contribution(3, None, None, None, np.array([True, True]), sums=sums)
    words = pack(encode(layout, said, Keystream(bytes(32))), layout)
    assert bytes(ring.to_bytes(words)) == bytes.fromhex(
        "c3f5285c 01000000"  # Σφ₀φ₀ = 1.36, in steps of 2⁻³²: 5,841,155,523
        "52b81e85 ffffffff"  # Σφ₀φ₁ = -0.48: -2,061,584,302 in two's complement
        "3d0ad7a3 01000000"  # Σφ₁φ₁ = 1.64: 7,043,746,365
        "66666666 00000000"  # feature 0 over class 0: 0.4
        "00000000 00000000"  # over class 1: 0
        "cdcccccc 00000000"  # feature 1 over class 0: 0.8
        "00000000 ffffffff"  # over class 1: -1
        "02000000 00000000"  # two pictures of class 0
        "01000000 00000000"  # one of class 1
    )


@pytest.mark.parametrize("name", ["low half of the counter is full", "counter is full"])
def test_the_counter_is_a_128_bit_big_endian_number(name: str) -> None:
    key, first_block = MASKS[name].given["mask_key"], MASKS[name].given["first_block"]
    out = np.empty(32, np.uint8)
    CounterMode(key, first_block).fill(out)
    assert out.tobytes() == reference.keystream(key, 32, first_block) == MASKS[name].expected["stream"]


def test_one_mask() -> None:
    case = MASKS["one mask"]
    key, q = case.given["mask_key"], case.given["q"]
    vector = ring.to_ring(np.array(q, np.int64), 32)
    add_mask(vector, key)
    assert reference.words(case.expected["masked"]) == reference.masked(q, [key]) == vector.tolist()


@pytest.mark.parametrize("name", ["key of main's mask", "key of the aggregator's mask"])
def test_the_mask_keys_of_a_round(name: str) -> None:
    given, expected = MASKS[name].given, MASKS[name].expected
    seed, label, mh, device = (given[field] for field in ("seed", "label", "mh", "device"))
    key = mask_key(seed, label, mh, device)
    assert reference.cbor([label, device]) == expected["info"]
    assert key == reference.mask_key(seed, label, mh, device) == expected["mask_key"]
    words = np.zeros(4, np.uint32)
    add_mask(words, key)
    assert words.tolist() == reference.masked([0] * 4, [key]) == expected["first_words"]


@pytest.mark.parametrize("name", ["two masks", "two masks, packed"])
def test_a_vector_with_both_masks(name: str) -> None:
    given, y = MASKS[name].given, MASKS[name].expected["y"]
    layout = [Segment(*part) for part in given["layout"]]
    vector = ring_vector(given["q"], given["layout"])
    for key in given["mask_keys"]:
        add_mask(vector, key)
    assert bytes(ring.to_bytes(pack(vector, layout))) == y
    assert reference.pack(reference.masked(given["q"], given["mask_keys"]), given["layout"]) == y
    assert vector_digest(y) == reference.vector_hash(y) == MASKS[name].expected["y_hash"]

    back = unpack(ring.from_bytes(y), layout).copy()
    for key in given["mask_keys"]:
        subtract_mask(back, key)
    clear = reference.masked(reference.unpack(y, given["layout"]), given["mask_keys"], -1)
    assert reference.centred(clear, given["layout"]) == given["q"]
    assert reference.centred(back.tolist(), given["layout"]) == given["q"]


@pytest.mark.parametrize(
    "case", [case for case in load("v1/packing").values() if case.expected], ids=lambda case: case.name
)
def test_packing(case: Case) -> None:
    q, bits, packed = case.given["q"], case.given["bits"], case.expected["packed"]
    layout = Segment("update", len(q), bits, 1, 1, -(1 << (bits - 1)), (1 << (bits - 1)) - 1, "stochastic")
    assert bytes(ring.to_bytes(pack(ring.to_ring(np.array(q, np.int64), bits), [layout]))) == packed
    assert reference.pack(q, [["update", len(q), bits]]) == packed
    assert ring.centre(unpack(ring.from_bytes(packed), [layout]), bits).tolist() == q
    assert reference.centred(reference.unpack(packed, [["update", len(q), bits]]), [["", len(q), bits]]) == q


def test_padding_that_is_not_zero_is_refused() -> None:
    given = load("v1/packing")["padding that is not zero"].given
    layout = [Segment("update", given["length"], given["bits"], 1, 1, -32_767, 32_767, "stochastic")]
    with pytest.raises(MalformedMessage, match="bits behind the last"):
        unpack(ring.from_bytes(given["packed"]), layout)


def test_the_generator() -> None:
    case = QUANTISATION["words"]
    seed = case.given["seed"]
    assert Keystream(seed).bytes(16) == reference.keystream(seed, 16) == case.expected["stream"]
    words = case.expected["words"]
    assert Keystream(seed).uint32(6).tolist() == reference.words(reference.keystream(seed, 24)) == words


@pytest.mark.parametrize("name", ["by hand", "at a manifest's scale", "on the edge"])
def test_stochastic_rounding(name: str) -> None:
    given, q = QUANTISATION[name].given, QUANTISATION[name].expected["q"]
    x, scale, (lo, hi), seed = given["x"], Fraction(*given["scale"]), given["bounds"], given["seed"]
    assert quantise(np.array(x), scale, lo, hi, Keystream(seed)).tolist() == q
    assert reference.quantise(x, scale, lo, hi, reference.words(reference.keystream(seed, 4 * len(x)))) == q


@pytest.mark.parametrize("name", ["within the clip", "beyond the clip"])
def test_clipping(name: str) -> None:
    given, expected = QUANTISATION[name].given, QUANTISATION[name].expected
    update, bound = given["update"], given["clip_micro"] / 1e6
    found = clip(np.array(update), bound)
    assert (found.vector.tolist(), found.within) == (expected["clipped"], expected["within"])
    assert reference.clip(update, bound) == (expected["clipped"], expected["within"])
