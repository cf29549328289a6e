"""Single values in a device's database, in memory too: they are read many times a round.

No other process writes this folder (``FolderLock``), so what is in memory is what is on the disk.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar, cast

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from fanlight.protocol.message import Message
from fanlight.storage.database import Database
from fanlight.storage.statements import Statement
from fanlight.storage.tables.device import settings

M = TypeVar("M", bound=Message)

_ALL: Final = Statement(select(settings))
_VALUE: Final = Statement(select(settings.c.value).where(settings.c.key == bindparam("wanted")))
_ROW: Final = upsert(settings)
_PUT: Final = Statement(_ROW.on_conflict_do_update(index_elements=["key"], set_={"value": _ROW.excluded.value}))


class Values:
    """The values by their keys.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: Mapping[str, bytes] = {}
        with self.changing():
            pass

    def get(self, key: str) -> bytes | None:
        """The value under ``key``, as it was kept last."""
        return self._known.get(key)

    def read(self, kind: type[M], key: str) -> M | None:
        """The message of this ``kind`` under ``key``.

        Raises:
            MalformedMessage: it is none.
        """
        return _decoded(kind, self._known.get(key))

    def keep(self, key: str, value: Message | bytes | None) -> None:
        """Keep a value under ``key``, durably; None forgets it."""
        with self.changing() as tx:
            put(tx, key, value)

    @contextmanager
    def changing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that may ``put`` values, ``durable`` as the database's; what is in memory follows then."""
        with self._lock:
            with self._database.transaction(durable=durable) as tx:
                yield tx
                found = {row.key: row.value for row in _ALL.all(tx)}
            self._known = found


def put(tx: Connection, key: str, value: Message | bytes | None) -> None:
    """Keep a value in the transaction of ``Values.changing``; None forgets it."""
    if value is None:
        tx.execute(delete(settings).where(settings.c.key == key))
        return
    _PUT.run(tx, key=key, value=_recent.encoded(value) if isinstance(value, Message) else value)


def stored(tx: Connection, kind: type[M], key: str) -> M | None:
    """The message of this ``kind`` under ``key`` as this transaction sees it; errors as in ``Values.read``."""
    return _decoded(kind, _VALUE.scalar(tx, wanted=key))


def _decoded(kind: type[M], data: bytes | None) -> M | None:
    return None if data is None else _recent.decoded(kind, data)


class _Recent:
    """Messages of late by their bytes: what can be long is decoded once, and not at all by who has encoded it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._messages: OrderedDict[tuple[type[Message], bytes], Message] = OrderedDict()
        self._lock = threading.Lock()

    def encoded(self, message: Message) -> bytes:
        data = message.encode()
        self._note(message, data)
        return data

    def decoded(self, kind: type[M], data: bytes) -> M:
        with self._lock:
            known = self._messages.get((kind, data))
            if known is not None:
                self._messages.move_to_end((kind, data))
        if known is None:
            known = kind.decode(data)
            self._note(known, data)
        return cast("M", known)

    def _note(self, message: Message, data: bytes) -> None:
        with self._lock:
            self._messages[type(message), data] = message
            self._messages.move_to_end((type(message), data))
            if len(self._messages) > self._most:
                self._messages.popitem(last=False)


_recent: Final = _Recent(8)
