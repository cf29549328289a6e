"""How many training pictures a version was made from, and what of it may be shown.

Numbers of pictures are known as sums over all devices of a round alone. But those of two rounds differ by what one
device has that was in one of them only, so outside demonstrations they are shown with two digits, of fewer devices than
``shown_figures`` asks for not at all, and those of a class only where each class has ``SMALLEST`` or more: then a class
that hardly anybody has does not show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, bindparam, insert, select

from fanlight.services.main_server.collected_sums import Collected
from fanlight.services.main_server.shown_figures import FEWEST_DEVICES, SMALLEST
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import taught_by

_WORDS: Final = np.dtype("<i8")
_KEEP: Final = Statement(insert(taught_by))
_FIND: Final = Statement(select(taught_by).where(taught_by.c.version == bindparam("wanted")))


@dataclass(frozen=True)
class Taught:
    """What a version was made from.

    Attributes:
        devices: in the sum.
        pictures: training pictures; where the head was solved, validation pictures too.
        per_class: of each class, where the head was solved; else the sum does not say.
    """

    devices: int
    pictures: int
    per_class: tuple[int, ...] | None = None

    def shown(self, classes: Sequence[str], *, demo: bool) -> dict[str, Any] | None:
        """As on a card: ``total``, ``per_class`` by name (None where it is hidden or not known), ``exact``."""
        if self.devices < FEWEST_DEVICES and not demo:
            return None
        per_class = self.per_class
        if per_class is not None and not demo and min(per_class) < SMALLEST:
            per_class = None
        total, *each = (number if demo else about(number) for number in (self.pictures, *(per_class or ())))
        named = dict(zip(classes, each, strict=True)) if per_class else None
        return {"total": total, "per_class": named, "exact": demo}


def about(number: int) -> int:
    """With two digits, the rest zeros."""
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1) if number > 0 else 1
    return round(number / unit) * unit


def of_collected(collected: Collected) -> Taught:
    """Of a version that is solved from these."""
    parts = collected.sums.examples.reshape(-1, collected.supporters.size)
    per_class = tuple(int(number) for number in parts.sum(axis=0))
    return Taught(collected.devices, sum(per_class), per_class)


def keep(tx: Connection, version: int, taught: Taught) -> None:
    """Remember what a new version was made from."""
    per_class = None if taught.per_class is None else np.array(taught.per_class, _WORDS).tobytes()
    _KEEP.run(tx, version=version, devices=taught.devices, pictures=taught.pictures, per_class=per_class)


def of_version(tx: Connection, version: int) -> Taught | None:
    """What a version was made from; None of the first of a line, and of those from before this was kept."""
    row = _FIND.first(tx, wanted=version)
    if row is None:
        return None
    per_class = None if row.per_class is None else tuple(np.frombuffer(row.per_class, _WORDS).tolist())
    return Taught(row.devices, row.pictures, per_class)
