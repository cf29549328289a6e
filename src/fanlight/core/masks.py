"""Masks: keystreams that make a vector look uniformly random, added and taken off in its rings.

A mask is the AES-256-CTR stream of a key, read as 32-bit little-endian words, one stream over the whole vector from
its first word. The key is derived from a seed that one server alone can open, the round (salt) and the device (info),
by HKDF with SHA-256 (RFC 5869). Adding a mask and subtracting it again gives the vector back bit for bit, in whatever
pieces and order it happens, because addition modulo 2^32 has no rounding. Coordinates of a smaller ring Z_2^b are
masked by the low b bits of their words, which are as uniform as the words; those of the ring of 64 bits by the stream's
words in pairs, the lower half first.

A key masks ONE vector: two vectors under one key would show their difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fanlight.core.cores import on_all_cores
from fanlight.core.counter_mode import BLOCK_BYTES, KEY_BYTES, PIECE_BYTES, CounterMode, WordSource
from fanlight.core.ring import LONG_BITS, WORD_BITS, WORD_BYTES, add_into, check_vector, subtract_into
from fanlight.errors import MalformedMessage

SEED_BYTES: Final = 32


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """``length`` bytes derived from ``secret`` by extract-and-expand (RFC 5869, sections 2.2 and 2.3)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def derive_mask_key(seed: bytes, salt: bytes, info: bytes) -> bytes:
    """The 32-byte key of one mask.

    Args:
        seed: 32 bytes that the device drew for this server and round.
        salt: the manifest's hash.
        info: label and device id, encoded.

    Raises:
        MalformedMessage: the seed has another length (it came out of a sealed box that its sender filled).
    """
    if len(seed) != SEED_BYTES:
        raise MalformedMessage(f"a mask seed has {SEED_BYTES} bytes, not {len(seed)}")
    return hkdf_sha256(seed, salt, info)


class MaskStream:
    """One mask, put on or taken off a vector that arrives in pieces.

    Every call continues where the last one ended, so the pieces must come in order and each word once. A piece is
    (n,) uint32, or (n,) uint64 for a vector in the ring of 64 bits, changed in place.

    Args:
        key: of the mask.
        start: the word of the vector that the first piece begins with; what comes before it costs nothing.
        buffer: see ``WordSource``.

    Raises:
        MalformedMessage: the key has not 32 bytes, or a piece is not a writable vector of uint32 or uint64.
    """

    def __init__(self, key: bytes, start: int = 0, buffer: NDArray[np.uint8] | None = None) -> None:
        block, before = divmod(WORD_BYTES * start, BLOCK_BYTES)
        self._words = WordSource(CounterMode(key, block.to_bytes(BLOCK_BYTES, "big")), buffer=buffer)
        self._words.next(before // WORD_BYTES)

    def add_to(self, piece: NDArray[Any]) -> None:
        """Add the mask's next n elements to the piece, in its ring."""
        self._apply(add_into, piece)

    def subtract_from(self, piece: NDArray[Any]) -> None:
        """Subtract the mask's next n elements from the piece, in its ring."""
        self._apply(subtract_into, piece)

    def _apply(self, change: Callable[[NDArray[Any], NDArray[Any]], None], piece: NDArray[Any]) -> None:
        is_long = piece.dtype == np.uint64
        check_vector(piece, LONG_BITS if is_long else WORD_BITS)
        words_each = 2 if is_long else 1
        step = self._words.most // words_each
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            words = self._words.next(words_each * len(part))
            change(part, words.view("<u8").astype(np.uint64, copy=False) if is_long else words)


def add_mask(vector: NDArray[Any], key: bytes) -> None:
    """Add the mask of ``key`` to (d,) uint32 or uint64 in place, in its ring; errors as in ``MaskStream``."""
    MaskStream(key).add_to(vector)


def subtract_mask(vector: NDArray[Any], key: bytes) -> None:
    """Subtract the mask of ``key`` from (d,) uint32 or uint64 in place, in its ring; errors as in ``MaskStream``."""
    MaskStream(key).subtract_from(vector)


def subtract_masks(piece: NDArray[Any], keys: Sequence[bytes], start: int = 0) -> None:
    """Subtract the masks of all ``keys`` from (n,) uint32 or uint64 in place, in its ring.

    A sum of many vectors is unmasked piece by piece, so that a piece stays in the cache while all masks come off it.

    Args:
        piece: what lies from element ``start`` on in the vector.
        keys: of the masks. start: where the piece begins.

    Raises:
        MalformedMessage: as in ``MaskStream``.
    """
    buffer = np.empty(PIECE_BYTES, np.uint8)
    for key in keys:
        MaskStream(key, start * piece.itemsize // WORD_BYTES, buffer).subtract_from(piece)


def unmask_sum(vector: NDArray[Any], keys: Sequence[bytes]) -> None:
    """The same for a whole sum, (d,) uint32 or uint64, on all cores."""
    step = PIECE_BYTES // vector.itemsize
    starts = range(0, len(vector), step)
    on_all_cores(lambda start: subtract_masks(vector[start : start + step], keys, start), starts)
