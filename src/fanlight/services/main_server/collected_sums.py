"""The sums that the head is solved from, as they stand: exact integers, over all devices that are counted in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, select

from fanlight.protocol.statistics import Sums
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import collected_sums as table
from fanlight.storage.tables.main import models

_WORDS: Final = np.dtype("<i8")
_PUBLISHED: Final = Statement(
    select(table.c.round).join(models, models.c.round == table.c.round).where(models.c.published)
)


@dataclass(frozen=True)
class Collected:
    """What is counted.

    Attributes:
        sums: of all devices.
        supporters: (K,) int64, devices per class with pictures of it.
        devices: whose sums they are; so many roundings are in each coordinate.
        round: that collected them.
    """

    sums: Sums
    supporters: NDArray[np.int64]
    devices: int
    round: int


def are_there(tx: Connection) -> bool:
    """Have sums been collected, and is what was solved from them published?"""
    return _PUBLISHED.first(tx) is not None


def read(tx: Connection) -> Collected | None:
    """What is counted now; None before the first round."""
    row = tx.execute(select(table)).first()
    if row is None:
        return None
    parts = [_numbers(part) for part in (row.gram, row.class_sums, row.examples)]
    return Collected(Sums(parts[0], parts[1], parts[2]), _numbers(row.supporters), row.devices, row.round)


def keep(tx: Connection, collected: Collected) -> None:
    """Put this in the place of what was counted before."""
    sums = collected.sums
    forget(tx)
    tx.execute(
        insert(table).values(
            round=collected.round,
            gram=_bytes(sums.gram),
            class_sums=_bytes(sums.class_sums),
            examples=_bytes(sums.examples),
            supporters=_bytes(collected.supporters),
            devices=collected.devices,
        )
    )


def forget(tx: Connection) -> None:
    """Have them collected anew: the next round that teaches is one of statistics."""
    tx.execute(delete(table))


def _numbers(data: bytes) -> NDArray[np.int64]:
    return np.frombuffer(data, _WORDS).astype(np.int64)


def _bytes(numbers: NDArray[np.int64]) -> bytes:
    return numbers.astype(_WORDS).tobytes()
