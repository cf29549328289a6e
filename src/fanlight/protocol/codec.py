"""Deterministic CBOR, the one encoding of everything that is signed, hashed, sent or stored (RFC 8949, section 4.2.1).

Rules, and why they hold:

1. One value has one encoding: shortest heads, definite lengths, map keys unsigned integers in ascending order.
2. Only unsigned and negative integers of 64 bits, byte strings, UTF-8 text, arrays, maps and the two booleans exist.
   Floats, tags, null, undefined and simple values are refused.
3. ``decode`` walks the heads first (``_scan``) without building anything: every length is checked against the bytes
   that are really there and the depth is bounded, so a short message can never make us allocate a large object, and no
   tag ever reaches a decoder that would act on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cbor2

from fanlight.errors import MalformedMessage, MessageTooLarge

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[int, Value] | Encoded"

MAX_DEPTH: Final = 12
DEFAULT_LIMIT: Final = 1 << 20

_MOST: Final = (1 << 64) - 1
"""The largest argument of a head; an integer is from ``-1 - _MOST`` to ``_MOST``."""

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_FALSE, _TRUE = 0xF4, 0xF5

_FIRST_ARRAY, _FIRST_MAP = _ARRAY << 5, _MAP << 5


def _behind_short(head: int) -> int | None:
    major, info = head >> 5, head & 31
    if major in (_BYTES, _TEXT):
        return info if info < 24 else None
    return 0 if head in (_FALSE, _TRUE) or (major <= _NEGATIVE and info < 24) else None


def _behind_long(head: int) -> tuple[int, int, int]:
    major, info = head >> 5, head & 31
    if major > _MAP or info > 27:
        return 0, _MOST + 1, 0
    width, least = ((1, 24), (2, 1 << 8), (4, 1 << 16), (8, 1 << 32))[info - 24] if info > 23 else (0, 0)
    return width, least, (0, 0, 1, 1, 1, 2)[major]


_SHORT: Final = tuple(map(_behind_short, range(256)))
"""By the first byte of a head: how many bytes follow it, if it says so alone (small integers, short strings, booleans).
"""
_LONG: Final = tuple(map(_behind_long, range(256)))
"""By the first byte of any other head: how many bytes the argument behind it has, if it does not hold it itself; the
least argument that is written so (none is large enough for tags, floats, null and indefinite lengths); and how many
bytes follow at least for each 1 of it: an entry of a map is a key and a value."""

_RUN: Final = 64
_INTEGERS: Final = re.compile(
    rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?!\x00\x00).{4}){%d}" % _RUN, re.DOTALL
)
"""So many unsigned integers below 2^32, each in its shortest form: what ``_scan`` finds of them, found at once."""


@dataclass(frozen=True)
class Encoded:
    """A part that ``encode`` has encoded before: ``data`` is taken as it is."""

    data: bytes


_NESTED: Final = (list, tuple, dict)
_ALWAYS_FIT: Final = frozenset({bytes, bool, Encoded})


def encode(value: Value) -> bytes:
    """Encode ``value`` deterministically.

    Raises:
        MalformedMessage: a type or integer outside the rules of this module.
    """
    in_order = _check(value)
    return cbor2.dumps(value, canonical=not in_order, default=_write_encoded)  # ``canonical`` takes twice the time


def _write_encoded(encoder: cbor2.CBOREncoder, part: Encoded) -> None:
    encoder.write(part.data)


def decode(data: bytes, *, limit: int = DEFAULT_LIMIT) -> Value:
    """Decode exactly one value from ``data``.

    Args:
        data: the received bytes.
        limit: most bytes accepted.

    Raises:
        MessageTooLarge: more than ``limit`` bytes.
        MalformedMessage: not one value in the deterministic encoding of this module.
    """
    if len(data) > limit:
        raise MessageTooLarge(f"A message of {len(data)} bytes is over the limit of {limit}.")
    try:
        end = _scan(data, 0, 1, MAX_DEPTH)
    except IndexError:
        end = len(data) + 1
    if end > len(data):
        raise MalformedMessage("The message ends too early.")
    if end < len(data):
        raise MalformedMessage(f"{len(data) - end} bytes follow the message.")
    try:
        value: Value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, UnicodeDecodeError) as error:
        raise MalformedMessage("The message is not valid CBOR.") from error
    return value


def _check(value: object) -> bool:
    """Refuse what has no place in a message; say whether the keys of all maps are in ascending order already.

    Messages are small and many, and calls are most of what they cost: plain values are looked at without any.
    """
    in_order = True
    unread: list[tuple[Iterable[Any], int]] = [((value,), MAX_DEPTH)]
    while unread:
        items, depth = unread.pop()  # ``depth``: so many arrays and maps may lie within one another among them
        for item in items:
            kind = type(item)
            if kind in _ALWAYS_FIT or (kind is int and -_MOST <= item <= _MOST) or (kind is str and item.isascii()):
                continue
            if not isinstance(item, _NESTED):
                _check_scalar(item)
                continue
            if not depth:
                raise MalformedMessage("The message is nested too deeply.")
            inside: Iterable[Any] = item
            if isinstance(item, dict):
                in_order &= _check_keys(item)
                inside = item.values()
            elif set(map(type, item)) == {int}:  # a confusion matrix has 40,000
                inside = (min(item), max(item))
            unread.append((inside, depth - 1))
    return in_order


def _check_scalar(value: object) -> None:
    match value:
        case bool() | bytes() | Encoded():
            return
        case str():
            _check_text(value)
        case int():
            _check_integer(value)
        case _:
            raise MalformedMessage(f"{type(value).__name__} has no place in a message.")


def _check_integer(value: int) -> None:
    if not -1 - _MOST <= value <= _MOST:
        raise MalformedMessage("An integer does not fit 64 bits.")


def _check_keys(keys: Iterable[object]) -> bool:
    """Refuse what is no key; say whether they are in ascending order."""
    in_order, last = True, -1
    for key in keys:
        if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key <= _MOST:
            raise MalformedMessage("Map keys are unsigned integers of 64 bits.")
        in_order &= key > last
        last = key
    return in_order


def _check_text(value: str) -> None:
    # A file name that is not UTF-8 reaches Python as text with lone surrogates.
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedMessage("A text cannot be written in UTF-8.") from error


def _scan(data: bytes, at: int, items: int, depth: int, last_key: int | None = None) -> int:
    """Check against the rules so many values that stand one behind the other; return the offset behind them.

    A short string is not checked to be there whole: if it is not, the next head is missed, or the end that is returned
    lies behind that of ``data``.

    Messages are small and many, and calls are most of what they cost: one is made for an array or a map, none for a
    plain value or its key.

    Args:
        data: the whole message.
        at: where the first value begins, or its key.
        items: values to check.
        depth: so many arrays and maps may lie within one another among them.
        last_key: -1 if they are those of a map, each with its key before it.

    Raises:
        IndexError: ``data`` ends where a head must be.
        MalformedMessage: any other rule is broken.
    """
    if items >= _RUN and last_key is None:
        at, items = _past_integers(data, at, items)
    for _ in range(items):
        if last_key is not None:
            if last_key < data[at] < 24:
                last_key, at = data[at], at + 1
            else:
                last_key, at = _next_key(data, at, last_key)
        head = data[at]
        following = _SHORT[head]
        if following is not None:
            at += 1 + following
            continue
        width, least, needed = _LONG[head]
        at += 1 + width
        argument = int.from_bytes(data[at - width : at], "big") if width else head & 31
        needed *= argument
        if argument < least or needed > len(data) - at:
            raise _refusal(head, argument)
        if head < _FIRST_ARRAY:
            at += needed
        elif depth:
            at = _scan(data, at, argument, depth - 1, -1 if head >= _FIRST_MAP else None)
        else:
            raise MalformedMessage("The message is nested too deeply.")
    return at


def _next_key(data: bytes, at: int, last_key: int) -> tuple[int, int]:
    """The key at ``at`` if it is not one of a single byte, and the offset behind it."""
    if data[at] >> 5 != _UNSIGNED:
        raise MalformedMessage("Map keys are unsigned integers.")
    end = _scan(data, at, 1, 0)
    key = int.from_bytes(data[at + 1 : end], "big") if end > at + 1 else data[at]
    if key <= last_key:
        raise MalformedMessage("Map keys are not in ascending order.")
    return key, end


def _past_integers(data: bytes, at: int, items: int) -> tuple[int, int]:
    """The offset behind the integers at ``at``, as far as they are found ``_RUN`` at once; and what is left then."""
    while items >= _RUN and (run := _INTEGERS.match(data, at)):
        at, items = run.end(), items - _RUN
    return at, items


def _refusal(head: int, argument: int) -> MalformedMessage:
    """What is wrong with a head of this first byte and this argument."""
    if argument >= _LONG[head][1]:
        return MalformedMessage("A string, an array or a map is longer than the message.")
    if head & 31 > 27:
        return MalformedMessage("Indefinite lengths are not allowed.")
    if head >> 5 > _MAP:
        return MalformedMessage("Tags, floats, null and simple values are not allowed.")
    return MalformedMessage("A number is not in its shortest form.")
