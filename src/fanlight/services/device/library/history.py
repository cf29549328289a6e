"""What was moved, so that it can be undone, and so that what was deleted finds its way back."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from sqlalchemy import delete, insert, select, update

from fanlight.storage.database import Database
from fanlight.storage.tables.device import picture_moves

KEPT = 50
"""Operations that can be undone."""
Move = tuple[str, str]
"""A file's path before and after."""


class History:
    """The last operations; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, kind: str, moves: Sequence[Move], now: int, onto: int | None = None) -> None:
        """Remember what is about to be moved; the oldest operations are forgotten.

        Args:
            kind, moves: the operation.
            now: unix seconds.
            onto: an operation that this goes on with: the two are one, if it is still the last and of this kind.
        """
        last = self.last() if onto is not None else None
        if last and last[:2] == (onto, kind):
            data = json.dumps([*last[2], *moves]).encode()
            with self._database.transaction() as tx:
                tx.execute(update(picture_moves).where(picture_moves.c.number == onto).values(moves=data))
            return
        data = json.dumps(moves).encode()
        with self._database.transaction() as tx:
            tx.execute(insert(picture_moves).values(kind=kind, moves=data, moved_at=now))
            newest = select(picture_moves.c.number).order_by(picture_moves.c.number.desc()).limit(KEPT)
            tx.execute(delete(picture_moves).where(picture_moves.c.number.not_in(newest)))

    def last(self) -> tuple[int, str, list[Move]] | None:
        """The last operation: number, kind, moves."""
        return next(iter(self._read(1)), None)

    def forget(self, number: int) -> None:
        """It has been undone."""
        with self._database.transaction() as tx:
            tx.execute(delete(picture_moves).where(picture_moves.c.number == number))

    def origins(self) -> dict[str, str]:
        """Of every path that something was moved to: where it was before, the last time."""
        return {after: before for _number, _kind, moves in reversed(self._read()) for before, after in moves}

    def forget_files(self, paths: Collection[str]) -> None:
        """These files are gone for good: operations that only moved them cannot be undone any more."""
        gone = set(paths)
        for number, _kind, moves in self._read():
            if all(after in gone for _before, after in moves):
                self.forget(number)

    def _read(self, most: int = KEPT) -> list[tuple[int, str, list[Move]]]:
        """Latest first."""
        with self._database.transaction() as tx:
            rows = tx.execute(select(picture_moves).order_by(picture_moves.c.number.desc()).limit(most)).all()
        return [(row.number, row.kind, [(before, after) for before, after in json.loads(row.moves)]) for row in rows]
