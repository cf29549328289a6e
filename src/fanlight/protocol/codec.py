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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeGuard

import cbor2

from fanlight.errors import MalformedMessage, MessageTooLarge

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[int, Value] | Encoded"

MAX_DEPTH: Final = 12
DEFAULT_LIMIT: Final = 1 << 20

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE, _TRUE = 20, 21

_RUN: Final = 64
_INTEGERS: Final = re.compile(
    rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?!\x00\x00).{4}){%d}" % _RUN, re.DOTALL
)
"""So many unsigned integers below 2^32, each in its shortest form: what ``_head`` finds of them, found at once."""


@dataclass(frozen=True)
class Encoded:
    """A part that ``encode`` has encoded before: ``data`` is taken as it is."""

    data: bytes


def encode(value: Value) -> bytes:
    """Encode ``value`` deterministically.

    Raises:
        MalformedMessage: a type or integer outside the rules of this module.
    """
    _check(value, MAX_DEPTH)
    return cbor2.dumps(value, canonical=True, default=_write_encoded)


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
    end = _scan(data, 0, MAX_DEPTH)
    if end != len(data):
        raise MalformedMessage(f"{len(data) - end} bytes follow the message.")
    try:
        value: Value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, UnicodeDecodeError) as error:
        raise MalformedMessage("The message is not valid CBOR.") from error
    return value


def _check(value: object, depth: int) -> None:
    if not depth and isinstance(value, list | tuple | dict):
        raise MalformedMessage("The message is nested too deeply.")
    match value:
        case bool() | bytes() | Encoded():
            return
        case str():
            _check_text(value)
        case int():
            _check_integer(value)
        case list() | tuple():
            if are_integers(value):
                _check_integer(min(value))
                _check_integer(max(value))
                return
            for item in value:
                _check(item, depth - 1)
        case dict():
            for key, item in value.items():
                _check_key(key)
                _check(item, depth - 1)
        case _:
            raise MalformedMessage(f"{type(value).__name__} has no place in a message.")


def are_integers(values: Sequence[object]) -> TypeGuard[Sequence[int]]:
    """Long lists of numbers (a confusion matrix has 40,000) are not looked at one by one."""
    return set(map(type, values)) == {int}


def _check_integer(value: int) -> None:
    if not -(1 << 64) <= value < 1 << 64:
        raise MalformedMessage("An integer does not fit 64 bits.")


def _check_key(key: object) -> None:
    if not isinstance(key, int) or isinstance(key, bool) or key < 0:
        raise MalformedMessage("Map keys are unsigned integers.")
    _check_integer(key)


def _check_text(value: str) -> None:
    # A file name that is not UTF-8 reaches Python as text with lone surrogates.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise MalformedMessage("A text cannot be written in UTF-8.") from error


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Read the head at ``at``: (major type, argument, offset behind the head); only shortest forms pass."""
    if at >= len(data):
        raise MalformedMessage("The message ends too early.")
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, at + 1
    if info > 27:
        raise MalformedMessage("Indefinite lengths are not allowed.")
    width = 1 << (info - 24)
    if at + 1 + width > len(data):
        raise MalformedMessage("The message ends too early.")
    argument = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    smallest = 24 if width == 1 else 1 << (4 * width)
    if argument < smallest:
        raise MalformedMessage("A number is not in its shortest form.")
    return major, argument, at + 1 + width


def _scan(data: bytes, at: int, depth: int) -> int:
    """Check the value at ``at`` against the rules; return the offset behind it.

    ``depth``: so many arrays and maps may lie within one another there.
    """
    start = at
    major, argument, at = _head(data, at)
    if major in (_UNSIGNED, _NEGATIVE):
        return at
    if major in (_BYTES, _TEXT):
        if argument > len(data) - at:
            raise MalformedMessage("A string is longer than the message.")
        return at + argument
    if major in (_ARRAY, _MAP) and not depth:
        raise MalformedMessage("The message is nested too deeply.")
    if major == _ARRAY:
        return _scan_array(data, at, argument, depth)
    if major == _MAP:
        return _scan_map(data, at, argument, depth)
    if major == _SIMPLE and argument in (_FALSE, _TRUE) and at == start + 1:
        return at
    raise MalformedMessage("Tags, floats, null and simple values are not allowed.")


def _scan_array(data: bytes, at: int, items: int, depth: int) -> int:
    if items > len(data) - at:
        raise MalformedMessage("An array is longer than the message.")
    while items >= _RUN and (run := _INTEGERS.match(data, at)):
        at, items = run.end(), items - _RUN
    for _ in range(items):
        at = _scan(data, at, depth - 1)
    return at


def _scan_map(data: bytes, at: int, entries: int, depth: int) -> int:
    if entries * 2 > len(data) - at:
        raise MalformedMessage("A map is longer than the message.")
    previous = -1
    for _ in range(entries):
        major, key, at = _head(data, at)
        if major != _UNSIGNED:
            raise MalformedMessage("Map keys are unsigned integers.")
        if key <= previous:
            raise MalformedMessage("Map keys are not in ascending order.")
        previous = key
        at = _scan(data, at, depth - 1)
    return at
