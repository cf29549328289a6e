"""Deterministic CBOR: what goes in comes out, and everything else is refused before it can do harm."""

from __future__ import annotations

import pytest

from fanlight.errors import MalformedMessage, MessageTooLarge
from fanlight.protocol import codec


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65_536, "1a00010000"),
        (1 << 32, "1b0000000100000000"),
        ((1 << 64) - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-256, "38ff"),
        (-(1 << 64), "3bffffffffffffffff"),
        (False, "f4"),
        (True, "f5"),
        (b"", "40"),
        (b"\x01\x02", "420102"),
        ("", "60"),
        ("ä", "62c3a4"),
        ([], "80"),
        ([1, [2, b"\x03"]], "8201820241" + "03"),
        ({}, "a0"),
        ({1: 2, 24: "x"}, "a20102" + "1818" + "6178"),
    ],
)
def test_the_encoding_is_that_of_rfc_8949(value: codec.Value, encoded: str) -> None:
    assert codec.encode(value).hex() == encoded
    assert codec.decode(bytes.fromhex(encoded)) == value


def test_a_part_that_is_encoded_before_is_encoded_alike() -> None:
    part = [1, 2, 3]
    whole: codec.Value = {1: [codec.Encoded(codec.encode(part)), 5], 2: codec.Encoded(codec.encode(b"x"))}
    assert codec.encode(whole) == codec.encode({1: [part, 5], 2: b"x"})


def test_booleans_and_integers_stay_apart() -> None:
    assert codec.decode(codec.encode([True, 1])) == [True, 1]
    assert type(codec.decode(codec.encode(True))) is bool
    assert type(codec.decode(codec.encode(1))) is int


def test_map_keys_are_sorted_by_number_when_encoded() -> None:
    assert codec.encode({300: 0, 2: 0, 30: 0}).hex() == "a3" + "0200" + "181e00" + "19012c00"


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ("", "nothing at all"),
        ("18", "a head without its argument"),
        ("1900", "half an argument"),
        ("1800", "0 in two bytes"),
        ("1817", "23 in two bytes"),
        ("1900ff", "255 in three bytes"),
        ("1a0000ffff", "65535 in five bytes"),
        ("1b00000000ffffffff", "2^32 - 1 in nine bytes"),
        ("5801ff", "a long head for a short string"),
        ("1c", "reserved head 28"),
        ("1d", "reserved head 29"),
        ("1e", "reserved head 30"),
        ("5f4101ff", "a byte string of indefinite length"),
        ("7f6161ff", "a text of indefinite length"),
        ("9f01ff", "an array of indefinite length"),
        ("bf0102ff", "a map of indefinite length"),
        ("ff", "a break on its own"),
        ("c001", "a tag"),
        ("c249010000000000000000", "a big number"),
        ("d81c8101", "a shareable value"),
        ("d81d00", "a reference"),
        ("f6", "null"),
        ("f7", "undefined"),
        ("f0", "simple value 16"),
        ("f8ff", "simple value 255"),
        ("f814", "false in two bytes"),
        ("f93c00", "a float of 16 bits"),
        ("fa3f800000", "a float of 32 bits"),
        ("fb3ff0000000000000", "a float of 64 bits"),
        ("f97e00", "NaN"),
        ("61ff", "text that is not UTF-8"),
        ("62eda0", "half a character"),
        ("63eda080", "a surrogate"),
        ("0000", "a second value"),
        ("4201", "a string longer than the message"),
        ("5bffffffffffffffff", "a string of 2^64 bytes"),
        ("7bffffffffffffffff", "a text of 2^64 bytes"),
        ("9bffffffffffffffff", "an array of 2^64 items"),
        ("9a7fffffff00", "an array of 2^31 items"),
        ("bbffffffffffffffff", "a map of 2^64 entries"),
        ("ba7fffffff0000", "a map of 2^31 entries"),
        ("8201", "an array that ends early"),
        ("a101", "a map that ends early"),
        ("a2010001" + "00", "a key twice"),
        ("a2020001" + "00", "keys in descending order"),
        ("a12000", "a negative key"),
        ("a1616100", "a text key"),
        ("a1f400", "a boolean key"),
        ("a1810000", "an array as key"),
        ("a1180100", "a key that is not in its shortest form"),
    ],
)
def test_what_is_not_deterministic_is_refused(refused: str, why: str) -> None:
    with pytest.raises(MalformedMessage):
        codec.decode(bytes.fromhex(refused))


def test_a_message_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(MessageTooLarge):
        codec.decode(b"\xff" * 11, limit=10)
    assert codec.decode(b"\x49" + bytes(9), limit=10) == bytes(9)


def nested(depth: int) -> codec.Value:
    value: codec.Value = 0
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded_alike_in_both_directions() -> None:
    deepest = nested(codec.MAX_DEPTH)
    assert codec.decode(codec.encode(deepest)) == deepest
    with pytest.raises(MalformedMessage):
        codec.encode(nested(codec.MAX_DEPTH + 1))
    with pytest.raises(MalformedMessage):
        codec.decode(b"\x81" * (codec.MAX_DEPTH + 1) + b"\x00")


@pytest.mark.parametrize(("innermost", "value"), [(b"\x80", []), (b"\xa0", {})])
def test_the_innermost_array_or_map_counts_though_it_is_empty(innermost: bytes, value: codec.Value) -> None:
    for _ in range(codec.MAX_DEPTH - 1):
        value = [value]
    assert codec.decode(b"\x81" * (codec.MAX_DEPTH - 1) + innermost) == value
    with pytest.raises(MalformedMessage):
        codec.decode(b"\x81" * codec.MAX_DEPTH + innermost)
    with pytest.raises(MalformedMessage):
        codec.encode([value])


def test_a_very_deep_message_does_not_exhaust_the_stack() -> None:
    with pytest.raises(MalformedMessage):
        codec.decode(b"\x81" * 1_000_000)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        None,
        1 << 64,
        -(1 << 64) - 1,
        {"a": 1},
        {-1: 1},
        {True: 1},
        {1 << 64: 1},
        {1, 2},
        object(),
        [None],
        "\udcff",
    ],
)
def test_what_has_no_encoding_is_refused(value: object) -> None:
    with pytest.raises(MalformedMessage):
        codec.encode(value)  # type: ignore[arg-type]
