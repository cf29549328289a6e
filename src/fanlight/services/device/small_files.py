"""Files of at most 64 KiB lie in the database: durable with the row that names them, without any sync of their own.

A report's y, and the head that it was made from, are written in each round; as files, each would cost two syncs more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from fanlight.storage.statements import Statement
from fanlight.storage.tables.device import small_files

MOST_BYTES: Final = 1 << 16

_ROW: Final = upsert(small_files)
_PUT: Final = Statement(_ROW.on_conflict_do_update(index_elements=["name"], set_={"content": _ROW.excluded.content}))
_CONTENT: Final = Statement(select(small_files.c.content).where(small_files.c.name == bindparam("wanted")))
_DELETE: Final = Statement(delete(small_files).where(small_files.c.name == bindparam("wanted")))
_NAMES: Final = Statement(select(small_files.c.name))


def is_small(size: int) -> bool:
    """Does a file of so many bytes lie in the database?"""
    return size <= MOST_BYTES


def put(tx: Connection, name: str, content: bytes) -> None:
    """Keep a file, in the place of one of that name."""
    _PUT.run(tx, name=name, content=content)


def read(tx: Connection, name: str) -> bytes | None:
    """What is in a file, if it is here."""
    content: bytes | None = _CONTENT.scalar(tx, wanted=name)
    return content


def forget(tx: Connection, name: str) -> None:
    """Delete a file; a missing one is no error."""
    _DELETE.run(tx, wanted=name)


def keep_only(tx: Connection, prefix: str, kept: Collection[str]) -> None:
    """Delete all files whose names begin so, but those that are kept."""
    for row in _NAMES.all(tx):
        if row.name.startswith(prefix) and row.name not in kept:
            forget(tx, row.name)
