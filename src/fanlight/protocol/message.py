"""Typed messages over the codec: each class is a CBOR map whose keys are the positions of its fields, from 1.

Rules: fields are never reordered or removed, new ones are added at the end; an optional field that is ``None`` is
absent; an unknown key, a missing one or a value of another type or size is refused. A message that travels has one
encoding: ``None`` is the only default of its optional fields, and no other value of them says the same. (A record that
a party keeps for itself may lack what is newer than it.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Final, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fanlight.core.segments import Segment
from fanlight.errors import MalformedMessage
from fanlight.protocol import codec

Hash = Annotated[bytes, Field(strict=True, min_length=32, max_length=32)]
"""SHA-256, 32 bytes."""
PublicKey = Annotated[bytes, Field(strict=True, min_length=32, max_length=32)]
"""Ed25519 or X25519 public key, raw, 32 bytes (RFC 8032, RFC 7748)."""
SignatureBytes = Annotated[bytes, Field(strict=True, min_length=64, max_length=64)]
"""Ed25519 signature, 64 bytes."""
DeviceId = Annotated[bytes, Field(strict=True, min_length=16, max_length=16)]
"""Device id, 16 bytes."""
SealedSeed = Annotated[bytes, Field(strict=True, min_length=80, max_length=80)]
"""HPKE of a 32-byte seed: 32 bytes encapsulated key, 32 ciphertext, 16 tag."""
Blob = Annotated[bytes, Field(strict=True, max_length=codec.DEFAULT_LIMIT)]
"""Bytes that hold a further message."""
OptionalBlob = Annotated[Blob, Field(min_length=1)] | None
"""The same, or nothing: no bytes are not another way to say that."""
U32 = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]
U63 = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
Time = U63
"""Unix seconds on the aggregator's clock."""
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=64)]
"""A short human or registry name, 1 to 64 characters."""


class Message(BaseModel):
    """Base of all wire messages and stored records."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    _names: ClassVar[Mapping[int, str]]
    """The fields by position."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._names = dict(enumerate(cls.model_fields, start=1))

    @model_validator(mode="before")
    @classmethod
    def _name_the_fields(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        named = {}
        for key, value in data.items():
            if isinstance(key, str):
                return data
            named[cls._names.get(key) or f"unknown key {key}"] = value
        return named

    def to_wire(self) -> dict[int, codec.Value]:
        """The message as a map from field positions to values."""
        values, wire = self.__dict__, {}
        for position, name in self._names.items():
            value = values[name]
            if value is not None:
                wire[position] = value if type(value) in _PLAIN else _to_wire(value)
        return wire

    def as_part(self) -> codec.Value:
        """The message as a part of another one."""
        return self.to_wire()

    def encode(self) -> bytes:
        """The message in deterministic CBOR."""
        return codec.encode(cast("codec.Value", self.to_wire()))

    @classmethod
    def decode(cls, data: bytes, *, limit: int = codec.DEFAULT_LIMIT) -> Self:
        """Read a message.

        Raises:
            MessageTooLarge: more than ``limit`` bytes.
            MalformedMessage: not the deterministic encoding of a message of this class.
        """
        return cls.from_wire(codec.decode(data, limit=limit))

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Read a message from a decoded value.

        Raises:
            MalformedMessage: a field is missing, unknown, or of another type or size; names the fields.
        """
        if not isinstance(value, dict):
            raise MalformedMessage(f"A {cls.__name__} is a map.")
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(step) for step in problem['loc']) or 'message'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)[:5]
            )
            raise MalformedMessage(f"Not a valid {cls.__name__}: {problems}.") from error

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return self.model_copy(update=changes)


def _to_wire(value: Any) -> codec.Value:
    if isinstance(value, Message):
        return value.as_part()
    if isinstance(value, Segment):
        return cast("codec.Value", _PARTS(value))
    if isinstance(value, tuple | list):
        if _PLAIN.issuperset(map(type, value)):
            return value
        return list(map(_to_wire, value))
    return cast("codec.Value", value)


_PLAIN: Final = frozenset({bytes, int, str, bool})
"""Types of values that go on the wire as they are."""
_PARTS = attrgetter(*(field.name for field in dataclasses.fields(Segment)))
_SEGMENT_TYPES = (str, int, int, int, int, int, int, str)


def _read_segment(value: object) -> object:
    if isinstance(value, Segment):
        return value
    # ``type(x) is t``: a bool must not pass for an int.
    if isinstance(value, list | tuple) and tuple(map(type, value)) == _SEGMENT_TYPES:
        return Segment(*value)
    raise ValueError("a segment is [kind, length, bits, scale numerator, scale denominator, lo, hi, rounding]")


SegmentField = Annotated[Segment, BeforeValidator(_read_segment)]
