"""The files of the versions, of which one at a time is kept in memory.

All devices fetch the same version, and the next one is made from it: so whoever wants it gets the one copy that there
is. A model can be the longest of all vectors; what is kept besides it and the sum is a matter of kilobytes.

Files, not rows: SQLite writes a long row twice, first to its log and then where it belongs (adr/0037). A file is on the
disk before the row that names it, and nothing deletes it: what a crash leaves without a row is one file, which the same
round writes once more; and an older database may be put back beside newer files, and taken away again.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection, bindparam, select

from fanlight.errors import NotFound, StorageError, from_os_error
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import models

MODELS_FOLDER: Final = "models"
"""In main's state folder."""
DAMAGED: Final = "damaged-model"
"""Slug of the error for a version's file that is gone, or not as it was written."""
_PUBLISHED: Final = Statement(select(models.c.size).where(models.c.sha256 == bindparam("wanted"), models.c.published))

log = structlog.get_logger(__name__)


class _File(NamedTuple):
    sha256: bytes
    content: bytes


class VersionFiles:
    """Files by their SHA-256, used from any thread. Whoever only reads changes nothing in the folder.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reading = threading.Lock()
        self._kept: _File | None = None  # the published one that was asked for last
        self._made: bytes | None = None  # the hash of one that was written here, until one is read

    @functools.cached_property
    def _blobs(self) -> BlobFolder:
        return BlobFolder(self._folder)

    def add(self, parts: Sequence[bytes | memoryview]) -> tuple[bytes, int]:
        """Write the file that ``parts`` make up, durably; its SHA-256, and how many bytes it has.

        Raises:
            StorageError: the disk is full or failed.
        """
        digest, size = hashlib.sha256(), sum(len(part) for part in parts)
        for part in parts:
            digest.update(part)
        sha256 = digest.digest()
        self._blobs.write_stream(_name(sha256), parts, size, size)
        self._made = sha256
        return sha256, size

    def published(self, tx: Connection, sha256: bytes) -> bytes:
        """The file of a published version.

        Raises:
            NotFound: there is none. StorageError: as in ``read``.
        """
        kept = self._kept
        if kept is None or kept.sha256 != sha256:
            with self._reading:  # a new version is asked for by everybody at once: it is read once
                kept = self._kept
                if kept is None or kept.sha256 != sha256:
                    if _PUBLISHED.first(tx, wanted=sha256) is None:
                        raise NotFound(f"There is no model with the hash {sha256.hex()}.")
                    kept = self._kept = None  # or there would be two for a moment
                    kept = self._kept = _File(sha256, self.read(sha256))
                    self._made = None
        return kept.content

    def read(self, sha256: bytes) -> bytes:
        """The file of a version that there is.

        Raises:
            StorageError: it is not there any more, or not as it was written.
        """
        try:
            return read_version(self._folder, sha256, believed=sha256 == self._made)
        except StorageError as error:
            log.warning("a version cannot be read", slug=error.slug, problem=error.message)
            raise


def read_version(folder: Path, sha256: bytes, *, believed: bool = False) -> bytes:
    """The file of a version in ``folder``.

    Args:
        folder: where it is. sha256: of the file.
        believed: it was hashed here a moment ago, and is not again, while all devices wait for it.

    Raises:
        StorageError: it is not there any more, or not as it was written.
    """
    path = folder / _name(sha256)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    if not content or not (believed or hashlib.sha256(content).digest() == sha256):
        raise StorageError(
            f"The model in {path} is damaged or missing.",
            next="Put this file back from a backup of this server's state; a device that has this version has it "
            f"as models/global-{path.name}.",
            slug=DAMAGED,
        )
    return content


def _name(sha256: bytes) -> str:
    return f"{sha256.hex()}.safetensors"
