"""The manifests that a device did not answer, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from fanlight.errors import FanlightError
from fanlight.storage.database import Database
from fanlight.storage.tables.device import refusals

REFUSALS: Final = 100
"""So many are told at once, unless others are asked for."""


@dataclass(frozen=True)
class Refusal:
    """A manifest that this device did not answer, and why."""

    mh: bytes
    slug: str
    message: str
    next: str
    refused_at: int


@dataclass(frozen=True)
class Refusals:
    """The part of a device's database that holds them."""

    database: Database

    def keep(self, mh: bytes, error: FanlightError, now: int) -> None:
        """Keep why a manifest was not answered; the same reason is kept once."""
        row = upsert(refusals).values(mh=mh, slug=error.slug, message=error.message, next=error.next, refused_at=now)
        with self.database.transaction() as tx:
            tx.execute(row.on_conflict_do_nothing())

    def counts(self) -> dict[str, int]:
        """How many manifests were not answered, by slug of the reason."""
        with self.database.transaction() as tx:
            rows = tx.execute(select(refusals.c.slug, func.count()).group_by(refusals.c.slug))
            return {str(row[0]): int(row[1]) for row in rows}

    def count(self) -> int:
        """How many there are."""
        return sum(self.counts().values())

    def newest(self, number: int = REFUSALS, skip: int = 0) -> list[Refusal]:
        """The latest first, after the first ``skip``."""
        order = refusals.c.refused_at.desc(), refusals.c.mh, refusals.c.slug
        with self.database.reading() as tx:
            rows = tx.execute(select(refusals).order_by(*order).limit(number).offset(skip)).all()
        return [Refusal(row.mh, row.slug, row.message, row.next, row.refused_at) for row in rows]
