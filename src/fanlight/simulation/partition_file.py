"""Somebody's own partition in a file: JSON, a list of indices for each device; or CSV with columns index and device.

Indices and devices are counted from 0; indices in the order of the whole data set, so a file is good for any seed.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Final

from fanlight.errors import DataError
from fanlight.simulation.text_file import read_text

_MOST_DEVICES: Final = 1_000_000
_JSON_LOOKS: Final = "Write it like: [[0, 2], [1, 3]], a list of indices for each device."
_CSV_LOOKS: Final = "The first line must be: index,device; then two whole numbers on each line."


def read_lists(path: str) -> list[list[int]]:
    """The indices of each device.

    Args:
        path: of a file whose name ends with ``.json`` or ``.csv``.

    Raises:
        StorageError, DataError: see ``read_text``; or it is not of the form above: says in which line.
    """
    reader = {".json": _from_json, ".csv": _from_csv}.get(Path(path).suffix.lower())
    if reader is None:
        raise DataError(f"{path}: no partition is read from such a file", next="Name a .json or a .csv file.")
    return reader(path, read_text(path))


def _from_json(path: str, text: str) -> list[list[int]]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}", next=_JSON_LOOKS) from error
    if not isinstance(told, list) or not told:
        raise DataError(f"{path}: not a list with an entry for each device", next=_JSON_LOOKS)
    for device, each in enumerate(told):
        if not isinstance(each, list) or not all(type(index) is int and 0 <= index < 2**62 for index in each):
            raise DataError(f"{path}: entry {device} is not a list of indices", next=_JSON_LOOKS)
    return told


def _from_csv(path: str, text: str) -> list[list[int]]:
    lines = csv.reader(io.StringIO(text))
    if [word.strip() for word in next(lines, [])] != ["index", "device"]:
        raise DataError(f"{path}, line 1: not the words index,device", next=_CSV_LOOKS)
    by_device: dict[int, list[int]] = {}
    for line in filter(None, lines):
        words = [word.strip() for word in line]
        if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 18 for word in words):
            raise DataError(f"{path}, line {lines.line_num}: not two whole numbers", next=_CSV_LOOKS)
        by_device.setdefault(int(words[1]), []).append(int(words[0]))
    count = max(by_device, default=-1) + 1
    if not 1 <= count <= _MOST_DEVICES:
        raise DataError(f"{path}: {count} devices", next=f"Number them from 0, below {_MOST_DEVICES:,}.")
    return [by_device.get(device, []) for device in range(count)]
