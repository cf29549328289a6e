"""The files of models in a device's state folder: the global one that it holds, the local one that it trained.

Beside them, the sums that a head is solved from, as this device's pictures have them. What is made here, or came along
with an offer, lies in the database if that takes it; what was fetched, or is too large, is a file.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Connection

from fanlight.errors import NotFound, StorageError
from fanlight.learning.model_file import MAX_MODEL_BYTES
from fanlight.services.device import small_files
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import Database
from fanlight.storage.unfinished import Unfinished

Made = Literal["local", "sums"]
Whose = Literal["global"] | Made

_FOLDER: Final = "models"


class ModelFiles:
    """The files of each kind, named by their SHA-256: one, or of sums a few.

    Args:
        state: the state folder. database: the one in it.
    """

    def __init__(self, state: Path, database: Database) -> None:
        self._files = BlobFolder(state / _FOLDER)
        self._database = database

    def write_large(self, whose: Whose, sha256: bytes, file: bytes) -> None:
        """Write it durably, if it is too large for the database; before the row that names it."""
        if not small_files.is_small(len(file)):
            self._files.write_stream(_name(whose, sha256), [file], len(file), MAX_MODEL_BYTES)

    def put_small(self, tx: Connection, whose: Whose, sha256: bytes, file: bytes) -> None:
        """Keep it with the row that names it, if it is small."""
        if small_files.is_small(len(file)):
            small_files.put(tx, _name(whose, sha256), file)

    def read(self, whose: Whose, sha256: bytes) -> bytes:
        """A model's file.

        Raises:
            NotFound: it is not here. StorageError: damaged.
        """
        name = _name(whose, sha256)
        with self._database.reading() as tx:
            data = small_files.read(tx, name)
        if data is None:
            data = self._files.read(name)
        if hashlib.sha256(data).digest() != sha256:
            raise StorageError(f"The {whose} model's file in {self._files.root} is damaged.", slug="damaged-model")
        return data

    def keep_only_rows(self, tx: Connection, whose: Whose, *kept: bytes | None) -> None:
        """As ``keep_only``, of those in the database."""
        small_files.keep_only(tx, f"{whose}-", {_name(whose, sha256) for sha256 in kept if sha256 is not None})

    def keep_only(self, whose: Whose, *kept: bytes | None) -> None:
        """Delete all other files of the kind, or all, if none is to be kept; and what has arrived of global ones.

        One that a power cut brings back goes too.
        """
        names = {_name(whose, sha256) for sha256 in kept if sha256 is not None}
        others = (name for name in self._files.names() if name.startswith(f"{whose}-") and name not in names)
        self._files.delete(*others, durably=False)
        if whose == "global":
            self._files.give_up_all()

    def has_files(self, whose: Whose) -> bool:
        """Is there a file of the kind, whole or not?"""
        return any(name.lstrip(".").startswith(f"{whose}-") for name in os.listdir(self._files.root))  # noqa: PTH208

    def unfinished(self, sha256: bytes) -> Unfinished:
        """What has arrived of a global model, to be continued; there is only one such file."""
        name = _name("global", sha256)
        self._files.give_up_all(keep=name)
        return self._files.unfinished(name, 0, MAX_MODEL_BYTES)


def current_model_file(state: Path) -> Path:
    """Where a device with the state folder ``state`` keeps a global model that was fetched (for ``fanlight predict``).

    Raises:
        NotFound: the device has none yet.
    """
    files = sorted((state / _FOLDER).glob("global-*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    if not files:
        raise NotFound(f"{state} holds no model yet.", next="Start the device and let it reach the main server.")
    return files[-1]


def _name(whose: Whose, sha256: bytes) -> str:
    return f"{whose}-{sha256.hex()}.safetensors"
