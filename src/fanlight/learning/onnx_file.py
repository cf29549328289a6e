"""Writes ONNX graphs, byte for byte reproducible, without the ``onnx`` package.

An ONNX file is a protocol-buffer message (https://protobuf.dev/programming-guides/encoding/). Only the few messages and
fields that convolutional graphs need are written, in ascending field order, so that equal graphs give equal bytes and a
file can be known by its digest. Field numbers are those of ``onnx.proto`` (IR version 8, operator set 17).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError

IR_VERSION = 8
OPSET = 17

_ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int64): 7, np.dtype(np.str_): 8}
FLOAT = _ELEMENT_TYPES[np.dtype(np.float32)]
BYTE = _ELEMENT_TYPES[np.dtype(np.uint8)]

Attribute = int | str | Sequence[int]
Dimension = int | str


@dataclass(frozen=True)
class Port:
    """A named input or output of the graph; a dimension is a fixed length or the name of a free one."""

    name: str
    dtype: type[np.generic]
    shape: Sequence[Dimension]


@dataclass
class Graph:
    """A graph under construction: nodes in execution order, constants, and its inputs and outputs."""

    name: str
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    _nodes: list[bytes] = field(default_factory=list)
    _constants: list[bytes] = field(default_factory=list)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Adds a float32, uint8 or int64 tensor of any shape; returns its name."""
        self._constants.append(_tensor(name, values))
        return name

    def words(self, name: str, values: Sequence[str]) -> str:
        """Adds a list of texts as a constant; returns its name."""
        head = _varint_field(1, len(values)) + _varint_field(2, _ELEMENT_TYPES[np.dtype(np.str_)])
        self._constants.append(head + b"".join(_text(6, value) for value in values) + _text(8, name))
        return name

    def node(self, operator: str, inputs: Iterable[str], output: str, **attributes: Attribute) -> str:
        """Adds a node with one output and returns the output's name, so that calls can be chained."""
        body = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(3, output) + _text(4, operator)
        body += b"".join(_bytes_field(5, _attribute(name, attributes[name])) for name in sorted(attributes))
        self._nodes.append(body)
        return output

    def include(self, model: bytes) -> None:
        """Adds the nodes and constants of an encoded model, under the names that they have there.

        Its inputs must be values of this graph by then. What it calls its values, this graph must not use otherwise.

        Raises:
            ModelError: it is cut off, or none of operator set 17 alone.
        """
        graph, sets = b"", []
        for number, value in fields_of(model):
            if number == 7:
                graph = bytes_of(value)
            elif number == 8:
                sets.append(bytes_of(value))
        if sets != [_varint_field(2, OPSET)]:
            raise ModelError(f"the graph is not one of operator set {OPSET} alone")
        for number, value in fields_of(graph):
            if number == 1:
                self._nodes.append(bytes_of(value))
            elif number == 5:
                self._constants.append(bytes_of(value))

    def encode(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """The whole model file; ``metadata`` is kept in it as text, sorted by key."""
        graph = b"".join(
            [
                *(_bytes_field(1, node) for node in self._nodes),
                _text(2, self.name),
                *(_bytes_field(5, constant) for constant in self._constants),
                *(_bytes_field(11, _port(port)) for port in self.inputs),
                *(_bytes_field(12, _port(port)) for port in self.outputs),
            ]
        )
        model = b"".join(
            [
                _varint_field(1, IR_VERSION),
                _text(2, "fanlight"),
                _bytes_field(7, graph),
                _bytes_field(8, _varint_field(2, OPSET)),
            ]
        )
        return labelled(model, metadata or {})


def labelled(model: bytes, metadata: Mapping[str, str]) -> bytes:
    """An encoded model with more metadata: fields of a message may follow one another in any order."""
    return model + b"".join(_entry(key, value) for key, value in sorted(metadata.items()))


def replaced(model: bytes, constants: Mapping[str, NDArray[Any]]) -> bytes:
    """An encoded model with other values for some of its constants; all else stays as it is, bit for bit.

    Raises:
        ModelError: it is damaged, or has no constant of such a name.
    """
    missing = set(constants)

    def graph(encoded: bytes) -> Iterator[bytes]:
        for number, value in fields_of(encoded):
            name = (
                bytes_of(dict(fields_of(bytes_of(value))).get(8, b"")).decode(errors="replace") if number == 5 else ""
            )
            missing.discard(name)
            yield _field(number, _tensor(name, constants[name]) if name in constants else value)

    fields = fields_of(model)
    whole = b"".join(_field(number, b"".join(graph(bytes_of(v))) if number == 7 else v) for number, v in fields)
    if missing:
        raise ModelError(f"the graph has no constants named {', '.join(sorted(missing))}")
    return whole


def labels(model: bytes) -> dict[str, str]:
    """The metadata of an encoded model.

    Raises:
        ModelError: it is damaged.
    """
    found: dict[str, str] = {}
    for number, value in fields_of(model):
        if number == 14:
            entry = dict(fields_of(bytes_of(value)))
            try:
                found[bytes_of(entry[1]).decode()] = bytes_of(entry[2]).decode()
            except (KeyError, UnicodeDecodeError) as error:
                raise ModelError("the graph is damaged") from error
    return found


def _entry(key: str, value: str) -> bytes:
    return _bytes_field(14, _text(1, key) + _text(2, value))


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # negative numbers travel as 64-bit two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _field(number: int, value: bytes | int) -> bytes:
    return _varint_field(number, value) if isinstance(value, int) else _bytes_field(number, value)


def _text(number: int, value: str) -> bytes:
    return _bytes_field(number, value.encode())


def fields_of(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message in order: number, and bytes or an integer, for no other kinds occur in our graphs.

    Raises:
        ModelError: it is damaged.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while position < len(message) and shift < 64:
            byte = message[position]
            position, value, shift = position + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value
        raise ModelError("the graph is damaged")

    while position < len(message):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
            continue
        length = varint()
        if tag & 7 != 2 or length > len(message) - position:
            raise ModelError("the graph is damaged")
        yield tag >> 3, message[position : position + length]
        position += length


def bytes_of(value: bytes | int) -> bytes:
    """A field of ``fields_of`` that must be bytes.

    Raises:
        ModelError: it is an integer.
    """
    if isinstance(value, int):
        raise ModelError("the graph is damaged")
    return value


def _attribute(name: str, value: Attribute) -> bytes:
    """AttributeProto; types: 2 integer, 3 text, 7 integers."""
    head = _text(1, name)
    if isinstance(value, int):
        return head + _varint_field(3, value) + _varint_field(20, 2)
    if isinstance(value, str):
        return head + _text(4, value) + _varint_field(20, 3)
    return head + b"".join(_varint_field(8, item) for item in value) + _varint_field(20, 7)


def _tensor(name: str, values: NDArray[Any]) -> bytes:
    """TensorProto; fields: 1 dimensions, 2 type, 8 name, 9 raw numbers."""
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    dims = b"".join(_varint_field(1, n) for n in values.shape)
    return dims + _varint_field(2, _ELEMENT_TYPES[values.dtype]) + _text(8, name) + _bytes_field(9, raw)


def _port(port: Port) -> bytes:
    """ValueInfoProto with a tensor type; a dimension is a length (field 1) or a name (field 2)."""
    dims = b"".join(_bytes_field(1, _varint_field(1, n) if isinstance(n, int) else _text(2, n)) for n in port.shape)
    tensor = _varint_field(1, _ELEMENT_TYPES[np.dtype(port.dtype)]) + _bytes_field(2, dims)
    return _text(1, port.name) + _bytes_field(2, _bytes_field(1, tensor))
