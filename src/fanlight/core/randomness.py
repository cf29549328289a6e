"""The generator that is injected wherever Fanlight needs randomness.

It is AES-256-CTR over a 32-byte seed: a device gives it a secret seed from the operating system, so that rounding and
batch order cannot be predicted (a deterministic update could be isolated by differencing two cohorts); a test or a
simulation gives it a fixed one and gets the same numbers on every machine and under every NumPy version.

Everything is drawn from one byte stream in the order of the calls; nothing is buffered or thrown away, except by the
rejections of ``below``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.counter_mode import KEY_BYTES, CounterMode, WordSource
from fanlight.errors import SettingsError

MOST_BELOW: Final = 1 << 63


class Keystream:
    """A deterministic, cryptographically strong generator.

    Args:
        seed: 32 bytes; equal seeds give equal draws.

    Raises:
        SettingsError: the seed has another length.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise SettingsError(f"a generator needs a seed of {KEY_BYTES} bytes, not {len(seed)}")
        self._stream = CounterMode(seed)

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        return self._draw(count, np.dtype(np.uint8)).tobytes()

    def uint32(self, count: int) -> NDArray[np.uint32]:
        """(count,) numbers, uniform in [0, 2^32); four bytes each, little-endian."""
        return self._draw(count, np.dtype("<u4")).astype(np.uint32, copy=False)

    def words(self, most: int) -> WordSource:
        """The numbers of ``uint32`` in pieces of up to ``most``, without an allocation for each."""
        return WordSource(self._stream, most)

    def below(self, limit: int) -> int:
        """One number, uniform in [0, limit), for 1 <= limit <= 2^63.

        Takes 64 bits and draws again above the greatest multiple of ``limit``, so that no residue is favoured.

        Raises:
            SettingsError: the limit is out of range.
        """
        if not 1 <= limit <= MOST_BELOW:
            raise SettingsError(f"cannot draw a number below {limit}: the limit must be 1 to 2^63")
        ceiling = (1 << 64) - (1 << 64) % limit
        while True:
            drawn = int.from_bytes(self.bytes(8), "little")
            if drawn < ceiling:
                return drawn % limit

    def permutation(self, count: int) -> NDArray[np.intp]:
        """(count,) the numbers 0 … count - 1 in random order.

        The order of ``count`` random 64-bit keys. Only equal keys could favour an order, and two of n are equal with
        probability n²/2^65: less than 10^-7 for a million.
        """
        keys = self._draw(count, np.dtype("<u8"))
        return np.argsort(keys, kind="stable")

    def _draw(self, count: int, kind: np.dtype[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        if count < 0:
            raise SettingsError(f"cannot draw {count} numbers")
        drawn = np.empty(count * kind.itemsize, dtype=np.uint8)
        self._stream.fill(drawn)
        return drawn.view(kind)
