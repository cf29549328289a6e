"""Reads the graphs that ``onnx_file`` writes, as far as something is done with their parts.

A file comes from an operator: what is not of the few kinds that our graphs have is refused, and a constant's length is
checked against its shape before it becomes an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.onnx_file import Attribute, bytes_of, fields_of

_TYPES: Final[Mapping[int, str]] = MappingProxyType({1: "<f4", 2: "u1", 7: "<i8"})
_INTEGER, _TEXT, _INTEGERS = 2, 3, 7
_MOST_DIMENSIONS: Final = 8


@dataclass(frozen=True)
class Node:
    """One operator; ``inputs`` and ``output`` are names of values."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Contents:
    """The nodes of a graph in order, and its constants by name, as views of the file."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]


def read_graph(model: bytes) -> Contents:
    """What is in an encoded model.

    Raises:
        ModelError: it is damaged, or holds what our graphs do not.
    """
    nodes: list[Node] = []
    constants: dict[str, NDArray[Any]] = {}
    try:
        graphs = [bytes_of(value) for number, value in fields_of(model) if number == 7]
        for number, value in (field for graph in graphs for field in fields_of(graph)):
            if number == 1:
                nodes.append(_node(bytes_of(value)))
            elif number == 5:
                name, values = _constant(bytes_of(value))
                constants[name] = values
    except (KeyError, UnicodeDecodeError) as error:
        raise ModelError("the graph holds what a backbone of Fanlight's does not") from error
    return Contents(tuple(nodes), MappingProxyType(constants))


def _node(message: bytes) -> Node:
    inputs: list[str] = []
    attributes: dict[str, Attribute] = {}
    outputs, operator = [], ""
    for number, value in fields_of(message):
        if number == 1:
            inputs.append(bytes_of(value).decode())
        elif number == 2:
            outputs.append(bytes_of(value).decode())
        elif number == 4:
            operator = bytes_of(value).decode()
        elif number == 5:
            name, attribute = _attribute(bytes_of(value))
            attributes[name] = attribute
    if len(outputs) != 1:
        raise ModelError(f"the graph has a node {operator!r} of {len(outputs)} outputs")
    return Node(operator, tuple(inputs), outputs[0], MappingProxyType(attributes))


def _attribute(message: bytes) -> tuple[str, Attribute]:
    parts: dict[int, bytes | int] = {}
    integers: list[int] = []
    for number, value in fields_of(message):
        if number == 8:
            integers.append(_whole(value))
        else:
            parts[number] = value
    name, kind = bytes_of(parts[1]).decode(), parts[20]
    if kind == _INTEGER:
        return name, _whole(parts[3])
    if kind == _TEXT:
        return name, bytes_of(parts[4]).decode()
    if kind == _INTEGERS:
        return name, tuple(integers)
    raise ModelError(f"the graph has an attribute {name!r} of kind {kind!r}")


def _constant(message: bytes) -> tuple[str, NDArray[Any]]:
    shape: list[int] = []
    parts: dict[int, bytes | int] = {}
    for number, value in fields_of(message):
        if number == 1:
            shape.append(_whole(value))
        else:
            parts[number] = value
    name, kind, raw = bytes_of(parts[8]).decode(), _TYPES[_whole(parts[2])], bytes_of(parts.get(9, b""))
    if len(shape) > _MOST_DIMENSIONS or any(length < 0 for length in shape):
        raise ModelError(f"the graph's constant {name!r} has the shape {shape}")
    if len(raw) != prod(shape) * np.dtype(kind).itemsize:
        raise ModelError(f"the graph's constant {name!r} is not as long as its shape says")
    return name, np.frombuffer(raw, kind).reshape(shape)


def _whole(value: bytes | int) -> int:
    """An integer, which travels as 64-bit two's complement."""
    if isinstance(value, bytes):
        raise ModelError("the graph is damaged")
    return value - 2**64 if value >= 2**63 else value
