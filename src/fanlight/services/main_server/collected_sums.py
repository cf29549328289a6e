"""The sums that the head is solved from, as they stand: exact integers, over all devices that are counted in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, select

from fanlight.protocol import statistics
from fanlight.protocol.contribution import Totals
from fanlight.protocol.statistics import Sums
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import collected_sums as table
from fanlight.storage.tables.main import models

TOO_FEW_LEFT: Final = "too-few-left"
"""Why the sum of a round of changes must not be known: so few would be left that the rest says too much of each."""
_WORDS: Final = np.dtype("<i8")
_PUBLISHED: Final = Statement(
    select(table.c.collection).join(models, models.c.round == table.c.collection).where(models.c.published)
)


@dataclass(frozen=True)
class Collected:
    """What is counted.

    Attributes:
        sums: of all devices.
        supporters: (K,) int64, devices per class with pictures of it.
        devices: whose sums they are; so many roundings are in each coordinate.
        round: that collected them, or changed them last.
        collection: the round that began to collect them; whoever is counted knows it.
    """

    sums: Sums
    supporters: NDArray[np.int64]
    devices: int
    round: int
    collection: int

    def changed(self, totals: Totals, round_number: int) -> Collected:
        """With what a round of changes has summed."""
        assert totals.sums is not None
        assert totals.supporters is not None
        return Collected(
            self.sums + totals.sums,
            self.supporters + totals.supporters,
            self.devices + (totals.members or 0),
            round_number,
            self.collection,
        )

    def why_impossible(self, fewest: int) -> str | None:
        """Why these cannot be the sums of ``fewest`` devices or more (a slug); None if they can.

        What devices send is rounded, but their differences are exact: there are as many roundings as devices.
        """
        if self.devices < fewest:
            return TOO_FEW_LEFT
        if (self.supporters < 0).any():
            return "supporters-out-of-range"
        return statistics.why_impossible(self.sums, self.devices)


def collection(tx: Connection) -> int | None:
    """The round that began to collect the sums, if there are any, and what was solved from them is published."""
    row = _PUBLISHED.first(tx)
    return None if row is None else int(row.collection)


def devices(tx: Connection) -> int:
    """How many are counted."""
    return int(tx.execute(select(table.c.devices)).scalar() or 0)


def read(tx: Connection) -> Collected | None:
    """What is counted now; None before the first round."""
    row = tx.execute(select(table)).first()
    if row is None:
        return None
    parts = [_numbers(part) for part in (row.gram, row.class_sums, row.examples)]
    return Collected(
        Sums(parts[0], parts[1], parts[2]), _numbers(row.supporters), row.devices, row.round, row.collection
    )


def keep(tx: Connection, collected: Collected) -> None:
    """Put this in the place of what was counted before."""
    sums = collected.sums
    forget(tx)
    tx.execute(
        insert(table).values(
            round=collected.round,
            collection=collected.collection,
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
