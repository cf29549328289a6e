"""A server's private keys of single rounds: owner-only files outside database and backups, destroyed at the outcome.

Whoever later gets the database, the long-term keys and the stored vectors still cannot open a seed of that round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.errors import NotFound
from fanlight.storage.folders import make_private_folder
from fanlight.storage.secret_files import destroy, read_secret, write_secret


@dataclass(frozen=True)
class RoundKey:
    """An X25519 key, 32 raw bytes."""

    private: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The public half, 32 raw bytes."""
        return X25519PrivateKey.from_private_bytes(self.private).public_key().public_bytes_raw()


class RoundKeys:
    """The folder of round keys.

    Args:
        folder: made if missing.
        random_bytes: cryptographic source, ``random_bytes(n)``.
    """

    def __init__(self, folder: Path, random_bytes: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._loaded: dict[int, X25519PrivateKey] = {}
        make_private_folder(folder)

    def fresh(self) -> RoundKey:
        """A fresh key, in memory only."""
        return RoundKey(self._random_bytes(32))

    def store(self, number: int, key: RoundKey) -> None:
        """Make ``key`` that of round ``number``, durably."""
        self._loaded.pop(number, None)
        write_secret(self._path(number), key.private.hex().encode(), replace=True)

    def load(self, number: int) -> X25519PrivateKey | None:
        """The private key of round ``number``, kept in memory until it is destroyed; None if it was, or was lost."""
        key = self._loaded.get(number)
        if key is None:
            try:
                key = X25519PrivateKey.from_private_bytes(bytes.fromhex(read_secret(self._path(number)).decode()))
            except NotFound:
                return None
            self._loaded[number] = key
        return key

    def destroy(self, number: int) -> None:
        """Destroy the key of round ``number``; a missing one is no error."""
        destroy(self._path(number))
        self._loaded.pop(number, None)

    def keep_only(self, number: int | None) -> None:
        """Destroy the keys of all rounds but ``number`` (None: of all)."""
        kept = self._path(number) if number is not None else None
        for path in self._folder.glob("round-*.key"):
            if path != kept:
                destroy(path)

    def _path(self, number: int) -> Path:
        return self._folder / f"round-{number}.key"
