"""What can be done to many pictures at once, by the names that pages and programs use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fanlight.services.device.library.library import Library

Action = Callable[[Library, Sequence[str], str], int]
"""Library, SHA-256 of the pictures and, for some, a class; how many files were moved."""

ACTIONS: Final[Mapping[str, Action]] = {
    "assign": lambda library, ids, label: library.assign(ids, label),
    "confirm": lambda library, ids, _label: library.confirm(ids),
    "unusable": lambda library, ids, _label: library.set_unusable(ids),
    "delete": lambda library, ids, _label: library.delete(ids),
    "restore": lambda library, ids, _label: library.restore(ids),
}
