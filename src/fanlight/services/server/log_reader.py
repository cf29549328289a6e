"""A server's log for reading: page by page, newest first, with the chain recomputed as it grows."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select

from fanlight.protocol.log import LogEntry, first_head, next_head
from fanlight.services.http.paging import paging
from fanlight.services.server.chained_log import ChainedLog
from fanlight.storage.database import Database

PAGE: Final = 50
_AT_ONCE: Final = 16
"""Entries read at once: one can hold a close of many megabytes."""


@dataclass(frozen=True)
class Checked:
    """How far the chain has been recomputed.

    Attributes:
        number: entries that hold together, from the first.
        head: of the last of them, 32 bytes.
        broken: number of the entry that does not follow; None if all do.
    """

    number: int
    head: bytes
    broken: int | None = None


class LogReader:
    """Reads a chained log. What has been recomputed is remembered, so that a page costs only what is new.

    Args:
        database, log: what to read.
    """

    def __init__(self, database: Database, log: ChainedLog) -> None:
        self._database = database
        self._log = log
        self._lock = threading.Lock()
        self._start = Checked(0, first_head(log.fid, log.role))
        self._checked = self._start

    def page(self, number: int = 1, *, size: int = PAGE, again: bool = False) -> dict[str, Any]:
        """One page of entries, newest first, without their payloads; ``at`` is None for those of older versions.

        Args:
            number: of the page, from 1; beyond the last it is empty.
            size: entries a page.
            again: recompute the whole chain, not only what is new.
        """
        checked = self._check(again=again)
        columns, times = self._log.table.c, self._log.tables.times.c
        shown = select(columns.seq, columns.type, columns.head, func.length(columns.payload).label("size"), times.at)
        shown = shown.join_from(self._log.table, self._log.tables.times, times.seq == columns.seq, isouter=True)
        with self._database.reading() as tx:
            total = self._count(tx)
            rows = tx.execute(shown.order_by(columns.seq.desc()).offset((number - 1) * size).limit(size)).all()
        return {
            "entries": [
                {"number": row.seq, "type": row.type, "at": row.at, "bytes": row.size, "head": row.head.hex()}
                for row in rows
            ],
            **paging(number, size, total),
            "verified": checked.broken is None,
            "verified_entries": checked.number,
            "broken": checked.broken,
            "head": checked.head.hex(),
        }

    def _check(self, *, again: bool) -> Checked:
        with self._lock:
            if again or self._checked.broken is not None:
                self._checked = self._start
            while (further := self._further(self._checked)) != self._checked and further.broken is None:
                self._checked = further
            self._checked = further
            return further

    def _further(self, checked: Checked) -> Checked:
        number, head = checked.number, checked.head
        with self._database.reading() as tx:
            for entry in self._log.entries(tx, after=number, limit=_AT_ONCE):
                following = next_head(number + 1, head, LogEntry(entry.type, entry.payload))
                if (entry.number, entry.head) != (number + 1, following):
                    return Checked(number, head, number + 1)
                number, head = entry.number, entry.head
        return Checked(number, head)

    def _count(self, tx: Connection) -> int:
        return int(tx.execute(select(func.count()).select_from(self._log.table)).scalar_one())
