"""The rows of a server's table of rounds, as both servers ask for them, in the caller's transaction; and records."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Column, Connection, Row, Select, Table, bindparam, func, select

from fanlight.errors import NotFound
from fanlight.protocol.closing import RECORD_LIMIT
from fanlight.protocol.message import Message
from fanlight.storage.statements import Statement

M = TypeVar("M", bound=Message)

_KEPT: Final = 2
"""Records: they can be large."""


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


class Records(Generic[M]):
    """Encodes and decodes the records of rounds: of the last ones, what was encoded need not be decoded again.

    A round is looked at several times between two changes. Safe from many threads.

    Args:
        kind: what a record is.
    """

    def __init__(self, kind: type[M]) -> None:
        self._kind = kind
        self._last: tuple[tuple[bytes, M], ...] = ()

    def encode(self, record: M) -> bytes:
        """As ``Message.encode``."""
        data = record.encode()
        self._keep(data, record)
        return data

    def decode(self, data: bytes) -> M:
        """As ``Message.decode``."""
        for known, record in self._last:
            if known == data:
                return record
        record = self._kind.decode(data, limit=RECORD_LIMIT)
        self._keep(data, record)
        return record

    def forget(self) -> None:
        """As in a new process."""
        self._last = ()

    def _keep(self, data: bytes, record: M) -> None:
        self._last = ((data, record), *self._last[: _KEPT - 1])
