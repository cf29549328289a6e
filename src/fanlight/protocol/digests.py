"""Hashes with a label: SHA-256 over the CBOR array [label, part, …], so that no two uses can be confused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from fanlight.core.cores import on_all_cores
from fanlight.protocol import codec

VECTOR_CHUNK_BYTES: Final = 1 << 20
HASH_BYTES: Final = 32


def digest(label: str, *parts: codec.Value) -> bytes:
    """SHA-256 of the deterministic CBOR array [label, part, …]; 32 bytes."""
    return hashlib.sha256(codec.encode([label, *parts])).digest()


@lru_cache(maxsize=16)
def federation_id(root_public_key: bytes) -> bytes:
    """``fid``: what every signed or derived label of one federation is bound to."""
    return digest("fanlight/fed/v1", root_public_key)


def device_id(fid: bytes, first_public_key: bytes) -> bytes:
    """16 bytes; stays the same when the device changes its key."""
    return digest("fanlight/dev/v1", fid, first_public_key)[:16]


@lru_cache(maxsize=1024)
def key_id(public_key: bytes) -> bytes:
    """16 bytes that name a public key in a signed object; remembered, since a server signs again and again."""
    return digest("fanlight/key/v1", public_key)[:16]


class VectorDigest:
    """H(y) over a vector that arrives in pieces: H([label, length, SHA-256 of each 1 MiB chunk]).

    Chunk hashes let a resumed upload check what is there already.
    """

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._current = hashlib.sha256()
        self._filled = 0
        self._length = 0

    def update(self, piece: bytes | memoryview) -> None:
        """Append ``piece``; pieces may be cut anywhere."""
        view = memoryview(piece).cast("B")
        self._length += len(view)
        while len(view):
            part = view[: VECTOR_CHUNK_BYTES - self._filled]
            self._current.update(part)
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == VECTOR_CHUNK_BYTES:
                self._finish_chunk()

    def digest(self) -> bytes:
        """The 32-byte hash of all that was appended; call once, at the end."""
        return vector_digest_of(self._length, self.chunks())

    def chunks(self) -> list[bytes]:
        """The 32-byte SHA-256 of each chunk of all that was appended; call at the end."""
        if self._filled:
            self._finish_chunk()
        return self._chunks

    def _finish_chunk(self) -> None:
        self._chunks.append(self._current.digest())
        self._current = hashlib.sha256()
        self._filled = 0


def vector_digest_of(size: int, chunks: Sequence[bytes]) -> bytes:
    """H(y) of a vector of ``size`` bytes from the SHA-256 of its chunks."""
    return digest("fanlight/vector/v1", size, list(chunks))


def chunk_hashes(data: bytes | memoryview) -> list[bytes]:
    """The 32-byte SHA-256 of each chunk of a vector that lies in memory, worked out on all cores."""
    whole = memoryview(data)
    if whole.itemsize != 1:
        raise TypeError("only bytes are hashed")
    starts = range(0, len(whole), VECTOR_CHUNK_BYTES)
    return on_all_cores(lambda start: hashlib.sha256(whole[start : start + VECTOR_CHUNK_BYTES]).digest(), starts)


def vector_digest(data: bytes | memoryview) -> bytes:
    """H(y) of a vector that lies in memory."""
    return vector_digest_of(len(data), chunk_hashes(data))
