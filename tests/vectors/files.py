"""Reads the files of vectors; ``README.md`` says how they are written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One case of a file: what is given and what is expected, each by the name of its field."""

    name: str
    given: dict[str, Any]
    expected: dict[str, Any]


def load(name: str) -> dict[str, Case]:
    """The cases of ``v1/ids`` or the like, by name, in the file's order."""
    cases = json.loads((HERE / f"{name}.json").read_text("utf-8"))["cases"]
    return {case["name"]: Case(case["name"], _fields(case["given"]), _fields(case["expected"])) for case in cases}


def all_files() -> list[Path]:
    return sorted(HERE.glob("*/*.json"))


def _fields(fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: _value(field) for name, field in fields.items()}


def _value(field: dict[str, Any]) -> Any:
    (kind,) = field.keys() - {"comment"}
    return READERS[kind](field[kind])


def _bytes(said: str | list[str]) -> bytes:
    """Hexadecimal digits, in one line or several."""
    return bytes.fromhex("".join(said))


def _typed(said: Any) -> Any:
    match said:
        case {"integer": digits}:
            return int(digits)
        case {"bytes": text}:
            return bytes.fromhex(text)
        case {"map": pairs}:
            return {_typed(key): _typed(value) for key, value in pairs}
        case list():
            return [_typed(one) for one in said]
    return said


READERS: dict[str, Callable[[Any], Any]] = {
    "hex": _bytes,
    "pieces": lambda said: _bytes([piece for piece, _ in said]),
    "hexes": lambda said: [_bytes(one) for one in said],
    "hexlists": lambda said: [[_bytes(one) for one in row] for row in said],
    "float64": lambda said: [struct.unpack(">d", _bytes(one))[0] for one in said],
    "value": _typed,
    **dict.fromkeys(("integer", "integers", "text", "texts", "flag", "layout"), lambda said: said),
}
"""How a value is written, by the name of its kind."""
