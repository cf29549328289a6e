"""What must hold for all bytes: one value has one encoding, and a stranger's bytes raise nothing unexpected."""

from __future__ import annotations

import enum

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanlight.errors import MalformedMessage, MessageTooLarge
from fanlight.protocol import codec
from fanlight.protocol.closing import Close, Outcome, OutcomeForDevice, Release, SignedOutcome, Verdict
from fanlight.protocol.exchange import Offer, Orders
from fanlight.protocol.identities import Certificate, Enrolment, Rekey, Revocation, TokenCertificate
from fanlight.protocol.manifest import Invitation, Manifest, Proposal, SignedManifest
from fanlight.protocol.message import Message
from fanlight.protocol.plan import Plan
from fanlight.protocol.report import Envelope, Readiness, Receipt, ReportHeader
from fanlight.protocol.signing import Signed
from tests.protocol_world import World, plan_of

INTEGERS = st.integers(-(1 << 64), (1 << 64) - 1) | st.integers(-300, 300)
LEAVES = (
    INTEGERS | st.binary(max_size=30) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.booleans()
)
KEYS = st.integers(0, (1 << 64) - 1) | st.integers(0, 30)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)

PLAN = plan_of()
SIGNED_MANIFEST = World(1).sign_manifest(World(1).proposal(PLAN))
SEEDS = [SIGNED_MANIFEST.payload, SIGNED_MANIFEST.encode(), PLAN.encode(), Signed(b"p", bytes(16), bytes(64)).encode()]
MESSAGES: list[type[Message]] = [
    Certificate, Close, Enrolment, Envelope, Invitation, Manifest, Offer, Orders, Outcome, OutcomeForDevice, Plan,
    Proposal, Readiness, Receipt, Rekey, Release, ReportHeader, Revocation, SignedManifest, SignedOutcome,
    TokenCertificate, Verdict,
]  # fmt: skip


def same(a: object, b: object) -> bool:
    """Equal, and of equal types all the way down: ``True == 1`` does not count."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


@given(VALUES)
def test_values_come_back_with_their_types(value: codec.Value) -> None:
    assert same(codec.decode(codec.encode(value)), value)


@given(VALUES, st.data())
def test_no_two_values_share_an_encoding_and_no_value_has_two(value: codec.Value, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    accept(bytes(encoded))


@given(st.binary(max_size=200))
@example(b"\x1b" + bytes(8))
@example(b"\xa2\x01\x00\x01\x00")
def test_any_bytes_that_are_accepted_encode_to_themselves(data: bytes) -> None:
    accept(data)


# CBOR heads are rare among random bytes: draw from those that begin something.
HEADS = [0x00, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x20, 0x38, 0x40, 0x41, 0x58, 0x60, 0x61, 0x80, 0x81, 0x82, 0x9F, 0xA0]
MORE_HEADS = [0xA1, 0xA2, 0xBF, 0xC0, 0xF4, 0xF5, 0xF6, 0xF9, 0xFB, 0xFF, 0x01, 0x02, 0x20]


@given(st.lists(st.sampled_from(HEADS + MORE_HEADS), max_size=40))
def test_heads_in_any_order_are_accepted_only_in_the_one_encoding(heads: list[int]) -> None:
    accept(bytes(heads))


def accept(data: bytes) -> None:
    """Decode ``data``; whatever is accepted must be the one encoding of its value."""
    try:
        value = codec.decode(data)
    except (MalformedMessage, MessageTooLarge):
        return
    assert codec.encode(value) == data


@given(st.binary(max_size=100), st.integers(0, 100))
def test_the_limit_is_kept_whatever_comes(data: bytes, limit: int) -> None:
    if len(data) > limit:
        with pytest.raises(MessageTooLarge):
            codec.decode(data, limit=limit)


@given(st.sampled_from([*MESSAGES, Signed]), st.sampled_from(SEEDS), st.data())
def test_a_damaged_message_is_malformed_or_another_message(
    kind: type[Message | Signed], seed: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    read(kind, bytes(damaged))


@given(st.sampled_from(MESSAGES), st.dictionaries(st.integers(0, 20), VALUES, max_size=8))
def test_any_map_is_malformed_or_a_message(kind: type[Message], wire: dict[int, codec.Value]) -> None:
    read(kind, codec.encode(wire))


def read(kind: type[Message | Signed], data: bytes) -> None:
    try:
        message = kind.decode(data)
    except (MalformedMessage, MessageTooLarge):
        return
    assert kind.decode(message.encode()) == message


EDGES = st.sampled_from([0, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1, -1, -(1 << 64)])


@given(st.lists(EDGES | st.integers(0, 70_000), min_size=60, max_size=200))
def test_long_lists_of_numbers_come_back_too(numbers: list[int]) -> None:
    assert codec.decode(codec.encode(numbers)) == numbers


@given(
    st.integers(0, 199),
    st.sampled_from(["1817", "1900ff", "1a0000ffff", "1b00000000ffffffff", "f6", "c100", "1c", "ff"]),
)
def test_one_wrong_item_in_a_long_list_is_found_wherever_it_stands(at: int, wrong: str) -> None:
    items = [bytes([index % 24]) for index in range(200)]
    items[at] = bytes.fromhex(wrong)
    with pytest.raises(MalformedMessage):
        codec.decode(b"\x98\xc8" + b"".join(items))


@given(st.integers(1, 199))
def test_a_long_list_that_ends_early_is_refused(left: int) -> None:
    with pytest.raises(MalformedMessage):
        codec.decode(b"\x98\xc8" + bytes(left))


def behind(data: bytes, at: int = 0, depth: int = codec.MAX_DEPTH) -> int:
    """The rules of the codec as they are told, one head after the other: where the value at ``at`` ends.

    Raises:
        ValueError: it breaks a rule.
        IndexError: it ends too early.
    """
    major, argument, at = head_at(data, at)
    if major in (0, 1):
        return at
    if major in (2, 3):
        data[at : at + argument].decode() if major == 3 else None
        return until(data, at + argument)
    if major in (4, 5):
        if not depth or argument * (major - 3) > len(data) - at:
            raise ValueError
        last = -1
        for _ in range(argument):
            if major == 5:
                kind, key, at = head_at(data, at)
                if kind or key <= last:
                    raise ValueError
                last = key
            at = behind(data, at, depth - 1)
        return at
    if data[at - 1] not in (0xF4, 0xF5):
        raise ValueError
    return at


def head_at(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument, and the offset behind them."""
    major, info, at = data[at] >> 5, data[at] % 32, at + 1
    if info < 24 or major > 5:
        return major, info, at
    width = {24: 1, 25: 2, 26: 4, 27: 8}.get(info, 0)
    argument = int.from_bytes(data[at : until(data, at + width)], "big")
    if argument.bit_length() <= (width * 4 if width > 1 else 0) or argument < 24:
        raise ValueError
    return major, argument, at + width


def until(data: bytes, end: int) -> int:
    if end > len(data):
        raise IndexError
    return end


def keeps_the_rules(data: bytes) -> bool:
    try:
        return behind(data) == len(data)
    except (ValueError, IndexError):
        return False


def is_accepted(data: bytes) -> bool:
    try:
        codec.decode(data)
    except MalformedMessage:
        return False
    return True


def changed(data: bytes, draw: st.DrawFn) -> bytes:
    """``data`` with some bytes replaced, left out or put in: mostly heads, which the rules are about."""
    some = bytearray(data)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(some)))
        some[at : at + draw(st.integers(0, 2))] = bytes(draw(st.lists(st.sampled_from(BEGINNINGS), max_size=3)))
    return bytes(some)


BEGINNINGS = [*HEADS, *MORE_HEADS, 0x5B, 0x7B, 0x98, 0x9B, 0xB8, 0xB9, 0xBB, 0xF8]
LONG_LISTS = st.lists(st.sampled_from([0, 24, 256, 65_536, 1 << 32]), min_size=60, max_size=140)


@st.composite
def almost_messages(draw: st.DrawFn) -> bytes:
    whole = draw(st.sampled_from(SEEDS) | (VALUES | LONG_LISTS).map(codec.encode))
    return changed(whole, draw)


@given(almost_messages() | st.lists(st.sampled_from(BEGINNINGS), max_size=40).map(bytes))
@example(b"\x81" * codec.MAX_DEPTH + b"\x00")
@example(b"\x81" * codec.MAX_DEPTH + b"\x80")
@example(b"\xa1\x01" * codec.MAX_DEPTH + b"\x00")
@example(b"\xa1\x01" * codec.MAX_DEPTH + b"\xa0")
@example(b"\xa2\x01\x80\x02\xa1\x03\x04")
@example(b"\xa2\x01\xa1\x02\x03\x01\x04")
@example(b"\x82\xa1\x02\x03\x04")
@example(b"\xa2\x17\x00\x18\x18\x00")
@example(b"\x19\x00\xff")
@example(b"\x1a\x00\x00\xff\xff")
@example(b"\x1b" + bytes(4) + b"\xff" * 4)
@example(codec.encode(dict.fromkeys(range(100), 0)))
@example(b"\x98\x40" + bytes(64))
@example(b"\x82\x98\x41" + bytes(65) + b"\x41")
def test_what_keeps_the_rules_is_accepted_and_nothing_else(data: bytes) -> None:
    assert is_accepted(data) == keeps_the_rules(data)


class Number(enum.IntEnum):
    ONE = 1


def nested(value: object) -> object:
    for _ in range(4):
        value = [value]
    return value


ODD = st.sampled_from([1.5, None, 1 << 64, -(1 << 64) - 1, "\ud800", {1}, bytearray(b"x"), Number.ONE])
ODD_KEYS = KEYS | st.sampled_from([True, -1, 1 << 64, "x", 1.0, None, Number.ONE])
ANYTHING = st.recursive(
    LEAVES | ODD,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(KEYS | ODD_KEYS, inner, max_size=5)
        | inner.map(nested)
    ),
    max_leaves=12,
)


def has_a_place(value: object, depth: int = codec.MAX_DEPTH) -> bool:
    """The rules again, of values."""
    match value:
        case bool() | bytes():
            return True
        case int():
            return -(1 << 64) <= value < 1 << 64
        case str():
            return not any(0xD800 <= ord(letter) < 0xE000 for letter in value)
        case list() | tuple():
            return depth > 0 and all(has_a_place(item, depth - 1) for item in value)
        case dict():
            keys = all(isinstance(key, int) and type(key) is not bool and 0 <= key < 1 << 64 for key in value)
            return depth > 0 and keys and all(has_a_place(item, depth - 1) for item in value.values())
    return False


@given(ANYTHING)
@example({2: {2: 0, 1: 0}, 1: 0})
@example([{2: 0, 1: 0}, {1: 0}])
@example({1: {24: 0, 2: 0}})
@example({True: 0})
@example([1 << 64, ""])
@example([-(1 << 64) - 1, ""])
@example([0, 1 << 64])
@example([-(1 << 64) - 1, 0])
def test_a_value_is_encoded_in_the_one_way_or_refused(value: codec.Value) -> None:
    if has_a_place(value):
        assert codec.encode(value) == cbor2.dumps(value, canonical=True)
    else:
        with pytest.raises(MalformedMessage):
            codec.encode(value)
