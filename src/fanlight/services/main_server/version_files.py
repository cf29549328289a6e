"""The files of the versions, rows of the database, of which one at a time is kept in memory.

All devices fetch the same version, and the next one is made from it: so whoever wants it gets the one copy that there
is. A model can be the longest of all vectors; what is kept besides it and the sum is a matter of kilobytes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, Integer, Label, bindparam, func, insert, literal_column, select

from fanlight.errors import NotFound
from fanlight.storage.long_values import read_long_value, write_long_value
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import model_files, models

_ROWID: Final[Label[int]] = literal_column("model_files.rowid", Integer).label("place")
_PUBLISHED_ROW: Final = Statement(
    select(_ROWID)
    .select_from(model_files.join(models, models.c.sha256 == model_files.c.sha256))
    .where(models.c.sha256 == bindparam("wanted"), models.c.published)
)
_ROW: Final = Statement(select(_ROWID).select_from(model_files).where(model_files.c.sha256 == bindparam("wanted")))
_INSERT: Final = Statement(
    insert(model_files).values(sha256=bindparam("wanted"), content=func.zeroblob(bindparam("size")))
)


class _File(NamedTuple):
    sha256: bytes
    content: bytes


class VersionFiles:
    """Files by their SHA-256. Methods run inside the caller's transaction, from any thread."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._kept: _File | None = None  # the published one that was asked for last

    def add(self, tx: Connection, parts: Sequence[bytes | memoryview]) -> tuple[bytes, int]:
        """Store the file that ``parts`` make up; its SHA-256, and how many bytes it has."""
        digest, size = hashlib.sha256(), sum(len(part) for part in parts)
        for part in parts:
            digest.update(part)
        sha256 = digest.digest()
        _INSERT.run(tx, wanted=sha256, size=size)
        write_long_value(tx, model_files.c.content, _ROW.scalar(tx, wanted=sha256), parts)
        return sha256, size

    def published(self, tx: Connection, sha256: bytes) -> bytes:
        """The file of a published version.

        Raises:
            NotFound: there is none.
        """
        kept = self._kept
        if kept is None or kept.sha256 != sha256:
            with self._reading:  # a new version is asked for by everybody at once: it is read once
                kept = self._kept
                if kept is None or kept.sha256 != sha256:
                    row = _PUBLISHED_ROW.scalar(tx, wanted=sha256)
                    if row is None:
                        raise NotFound(f"There is no model with the hash {sha256.hex()}.")
                    kept = self._kept = None  # or there would be two for a moment
                    kept = self._kept = _File(sha256, read_long_value(tx, model_files.c.content, row))
        return kept.content
