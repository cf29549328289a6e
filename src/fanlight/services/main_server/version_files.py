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
from concurrent.futures import Future, ThreadPoolExecutor
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
_UNNAMED: Final = "made.safetensors"
"""What a file is called until its hash is known."""
_PUBLISHED: Final = Statement(select(models.c.size).where(models.c.sha256 == bindparam("wanted"), models.c.published))

log = structlog.get_logger(__name__)


class _File(NamedTuple):
    sha256: bytes
    content: bytes


class _Made(NamedTuple):
    sha256: bytes
    content: Future[bytes]


class VersionFiles:
    """Files by their SHA-256, used from any thread. Whoever only reads changes nothing in the folder.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reading = threading.Lock()
        self._kept: _File | None = None  # the published one that was asked for last
        self._made: _Made | None = None  # the one that was written here last, instead, until one is asked for
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="fanlight-version")

    @functools.cached_property
    def _blobs(self) -> BlobFolder:
        return BlobFolder(self._folder)

    def add(self, parts: Sequence[bytes | memoryview]) -> tuple[bytes, int]:
        """Write the file that ``parts`` make up, durably; its SHA-256, and how many bytes it has.

        It is hashed while it goes to the disk, and read while the round is concluded, before all devices ask for it at
        once: with 3.5M parameters it is durable after 15 ms instead of 20, and they do not wait the 8 of reading it.

        Raises:
            StorageError: the disk is full or failed.
        """
        size = sum(len(part) for part in parts)
        hashed = self._beside.submit(_sha256, parts)
        with self._blobs.writer(_UNNAMED, size, size) as writer:
            for part in parts:
                writer.write(part)
            writer.commit(lambda: _name(hashed.result()))
        sha256 = hashed.result()
        with self._reading:
            self._kept = self._made = None  # or there would be two for a moment
            self._made = _Made(sha256, self._beside.submit(self.read, sha256, believed=True))
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
                    made = self._made if self._made is not None and self._made.sha256 == sha256 else None
                    kept = self._kept = self._made = None  # or there would be two for a moment
                    kept = self._kept = _File(sha256, made.content.result() if made else self.read(sha256))
        return kept.content

    def read(self, sha256: bytes, *, believed: bool = False) -> bytes:
        """The file of a version that there is; ``believed`` as in ``read_version``.

        Raises:
            StorageError: it is not there any more, or not as it was written.
        """
        try:
            return read_version(self._folder, sha256, believed=believed)
        except StorageError as error:
            log.warning("a version cannot be read", slug=error.slug, problem=error.message)
            raise


def read_version(folder: Path, sha256: bytes, *, believed: bool = False) -> bytes:
    """The file of a version in ``folder``.

    Args:
        folder: where it is. sha256: of the file.
        believed: it was hashed here a moment ago, and is not again.

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
            next="Put this file back from a backup of this server's state; or with a device that has this version: "
            f"fanlight export --shared --state ITS-FOLDER writes it, as .safetensors; call that {path.name}.",
            slug=DAMAGED,
        )
    return content


def _name(sha256: bytes) -> str:
    return f"{sha256.hex()}.safetensors"


def _sha256(parts: Sequence[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
