"""The rows of a server's table of rounds, as both servers ask for them; in the caller's transaction."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, Table, bindparam, func, select

from fanlight.errors import NotFound
from fanlight.storage.statements import Statement


@dataclass(frozen=True)
class RoundRows:
    """Reads rounds.

    Attributes:
        table: with the columns ``number``, ``mh`` and ``state``.
        columns: those that are read.
    """

    table: Table
    columns: Sequence[Column[Any]]

    @functools.cached_property
    def _newest(self) -> Statement:
        return Statement(self._newest_first().limit(1))

    @functools.cached_property
    def _by_hash(self) -> Statement:
        return Statement(select(*self.columns).where(self.table.c.mh == bindparam("wanted")))

    @functools.cached_property
    def _numbered(self) -> Statement:
        return Statement(select(*self.columns).where(self.table.c.number == bindparam("wanted")))

    def newest(self, tx: Connection) -> Any | None:
        """The round with the highest number, if there is any."""
        return self._newest.first(tx)

    def numbered(self, tx: Connection, number: int) -> Any:
        """The round of this number.

        Raises:
            NotFound: there is none.
        """
        row = self._numbered.first(tx, wanted=number)
        if row is None:
            raise NotFound(f"There is no round {number}.", next="Choose one of all rounds (/rounds).")
        return row

    def find(self, tx: Connection, mh: bytes) -> Any | None:
        """The round with this manifest, if there is one."""
        return self._by_hash.first(tx, wanted=mh)

    def by_hash(self, tx: Connection, mh: bytes) -> Any:
        """The round with this manifest.

        Raises:
            NotFound: there is none.
        """
        row = self.find(tx, mh)
        if row is None:
            raise NotFound("There is no round with this manifest.")
        return row

    def every(self, tx: Connection) -> Iterable[Row[Any]]:
        """All rounds, oldest first, read as they are asked for."""
        return tx.execute(select(*self.columns).order_by(self.table.c.number))

    def page(self, tx: Connection, offset: int, limit: int) -> Iterable[Row[Any]]:
        """Some of the rounds, newest first, read as they are asked for."""
        return tx.execute(self._newest_first().offset(offset).limit(limit))

    def count(self, tx: Connection) -> int:
        """How many rounds there are."""
        return int(tx.execute(select(func.count()).select_from(self.table)).scalar_one())

    def counts(self, tx: Connection) -> dict[str, int]:
        """How many rounds there are in each state."""
        state = self.table.c.state
        return {str(row[0]): int(row[1]) for row in tx.execute(select(state, func.count()).group_by(state))}

    def _newest_first(self) -> Select[Any]:
        return select(*self.columns).order_by(self.table.c.number.desc())
