"""A role's hash-chained log in its database; the chain itself is ``protocol.log``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Table, insert, select

from fanlight.protocol.log import ChainedEntry, LogEntry, first_head, next_head
from fanlight.storage.statements import Statement
from fanlight.storage.tables.server import LogTables


@dataclass(frozen=True)
class ChainedLog:
    """The log of one role.

    Attributes:
        tables: its log, and the times of its entries.
        fid: the federation, 32 bytes.
        role: ``main`` or ``aggregator``.
        clock: unix seconds.
    """

    tables: LogTables
    fid: bytes
    role: str
    clock: Callable[[], float]

    @property
    def table(self) -> Table:
        """The entries."""
        return self.tables.entries

    def head(self, tx: Connection) -> bytes:
        """The head of the chain, 32 bytes."""
        return self._last(tx)[1]

    def length(self, tx: Connection) -> int:
        """How many entries there are; their numbers have no gaps."""
        return self._last(tx)[0]

    def append(self, tx: Connection, entries: Iterable[LogEntry]) -> None:
        """Append within the transaction that makes the entries true."""
        number, head = self._last(tx)
        for entry in entries:
            number += 1
            head = next_head(number, head, entry)
            self._insert.run(tx, seq=number, head=head, type=entry.type, payload=entry.payload)
            self._insert_time.run(tx, seq=number, at=self.clock())

    def append_once(self, tx: Connection, entry: LogEntry) -> None:
        """Append unless the same entry is in the log already: what a stranger can repeat must not make it grow."""
        columns = self.table.c
        same = select(columns.seq).where(columns.type == entry.type, columns.payload == entry.payload).limit(1)
        if tx.execute(same).first() is None:
            self.append(tx, [entry])

    def entries(self, tx: Connection, *, after: int = 0, limit: int = 1000) -> Iterator[ChainedEntry]:
        """Up to ``limit`` entries behind number ``after``, in order."""
        rows = tx.execute(select(self.table).where(self.table.c.seq > after).order_by(self.table.c.seq).limit(limit))
        return (ChainedEntry(row.seq, row.head, row.type, row.payload) for row in rows)

    def _last(self, tx: Connection) -> tuple[int, bytes]:
        row = self._newest.first(tx)
        return (row.seq, row.head) if row else (0, first_head(self.fid, self.role))

    @functools.cached_property
    def _newest(self) -> Statement:
        columns = self.table.c
        return Statement(select(columns.seq, columns.head).order_by(columns.seq.desc()).limit(1))

    @functools.cached_property
    def _insert(self) -> Statement:
        return Statement(insert(self.table))

    @functools.cached_property
    def _insert_time(self) -> Statement:
        return Statement(insert(self.tables.times))
