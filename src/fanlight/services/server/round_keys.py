"""A server's private key of the round that is under way: an owner-only file outside database and backups.

It is destroyed at the outcome. Whoever later gets the database, the long-term keys and the stored vectors still cannot
open a seed of that round. There is one such round at a time, and the key of the next one takes the place of the last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.storage.folders import make_private_folder
from fanlight.storage.secret_files import destroy, read_secret
from fanlight.storage.secret_slot import SecretSlot

FILE: Final = "round.key"
"""In the folder of round keys."""


@dataclass(frozen=True)
class RoundKey:
    """An X25519 key, 32 raw bytes."""

    private: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The public half, 32 raw bytes."""
        return X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()


class RoundKeys:
    """The folder of the round's key. Safe from many threads.

    Args:
        folder: made if missing.
        random_bytes: cryptographic source, ``random_bytes(n)``.

    Raises:
        StorageError: it cannot be made or read, or others can read it.
    """

    def __init__(self, folder: Path, random_bytes: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._loaded: tuple[int, X25519PrivateKey] | None = None
        make_private_folder(folder)
        self._slot = SecretSlot(folder / FILE)

    def fresh(self) -> RoundKey:
        """A fresh key, in memory only."""
        return RoundKey(self._random_bytes(32))

    @property
    def number(self) -> int | None:
        """The round whose key is here."""
        kept = self._slot.read()
        return kept.number if kept else None

    def store(self, number: int, key: RoundKey) -> None:
        """Make ``key`` that of round ``number``, durably; that of the round before, which is over, is destroyed."""
        with self._lock:
            self._loaded = None
            self._slot.write(number, key.private)

    def load(self, number: int) -> X25519PrivateKey | None:
        """The private key of round ``number``, kept in memory until it is destroyed; None if it was, or was lost."""
        with self._lock:
            if self._loaded is None or self._loaded[0] != number:
                kept = self._slot.read()
                if kept is None or kept.number != number:
                    return None
                self._loaded = number, X25519PrivateKey.from_private_bytes(kept.secret)
            return self._loaded[1]

    def destroy(self, number: int) -> None:
        """Destroy the key of round ``number``; a missing one is no error."""
        with self._lock:
            if self.number == number:
                self._loaded = None
                self._slot.destroy()

    def keep_only(self, number: int | None) -> None:
        """Destroy every key but that of round ``number`` (None: every one); call at the start.

        Before there was one file there was one for each round.
        """
        with self._lock:
            for path in self._folder.glob("round-*.key"):
                if path.name == f"round-{number}.key" and number is not None:
                    self._slot.write(number, bytes.fromhex(read_secret(path).decode()))
                destroy(path)
            if number is None or self.number != number:
                self._slot.destroy()
