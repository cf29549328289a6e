"""Keeps feature vectors on disk, so that no picture goes through the backbone twice.

An entry is one small file: the SHA-256 of (key, payload), then the payload, float32 little-endian. Binding the key into
the digest makes a truncated, flipped, renamed or swapped file look like what it is: absent. Entries may therefore be
lost at any time without harm, and writing them needs no fsync, only that no reader sees half a file.
Features tell a good deal about a picture: folders and files are for their owner only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import from_os_error
from fanlight.learning.atomic_file import write_atomically

Features = NDArray[np.float32]

_DIGEST = 32
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FeatureCache:
    """Feature vectors of one backbone at one picture size.

    Attributes:
        folder: root of the cache; may be shared by backbones and sizes.
        backbone_sha256: digest of the compiled backbone, hexadecimal.
        size: picture size in pixels.
        features: length of a vector.
        variant: which of a picture's variants; empty of the picture itself. Letters, digits and ``-``.
    """

    folder: Path
    backbone_sha256: str
    size: int
    features: int
    variant: str = ""

    def get(self, content: str) -> Features | None:
        """The (features,) vector of the picture with content hash ``content``; None if absent or damaged."""
        length = _DIGEST + 4 * self.features
        try:
            with self._path(content).open("rb") as file:
                record = file.read(length + 1)
        except OSError:
            return None
        digest, payload = record[:_DIGEST], record[_DIGEST:]
        if len(record) != length or digest != self._digest(content, payload):
            return None
        return np.frombuffer(payload, "<f4").astype(np.float32)

    def put(self, content: str, vector: Features) -> None:
        """Stores a (features,) vector, replacing what was there.

        Raises:
            StorageError: the disk refuses.
        """
        payload = vector.astype("<f4").tobytes()
        try:
            write_atomically(self._path(content), self._digest(content, payload) + payload, durable=False)
        except OSError as error:
            raise from_os_error(error, str(self.folder)) from error

    def _path(self, content: str) -> Path:
        variant = f"-{self.variant}" if self.variant else ""
        return self.folder / f"{self.backbone_sha256[:16]}-{self.size}{variant}" / _entry(content)

    def _digest(self, content: str, payload: bytes) -> bytes:
        variant = f"{self.variant}/" if self.variant else ""
        key = f"{self.backbone_sha256}/{self.size}/{content}/{variant}".encode()
        return hashlib.sha256(key + payload).digest()


def forget_features(folder: Path, content: str) -> None:
    """Delete what is kept of a picture that is gone, of every backbone and size.

    Args:
        folder: root of the cache.
        content: the picture's content hash.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        for kept in folder.glob("*"):
            (kept / _entry(content)).unlink(missing_ok=True)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error


def _entry(content: str) -> Path:
    if not _KEY.fullmatch(content):
        raise ValueError(f"not a content hash: {content!r}")
    return Path(content[:2]) / content[2:]
