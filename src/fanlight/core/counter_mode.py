"""AES-256 in counter mode as a source of bytes (NIST SP 800-38A, section 6.5).

The stream for a key is E(T), E(T+1), E(T+2), … where T is the first counter block (16 zero bytes unless given)
and the increment is that of a 128-bit big-endian number. Two equal (key, first block) pairs give equal streams,
so a key must be used for one purpose only.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fanlight.errors import MalformedMessage

KEY_BYTES: Final = 32
BLOCK_BYTES: Final = 16
PIECE_BYTES: Final = 1 << 19  # half a MiB: with its zeros, words and addend still about the size of a core's L2 cache

_ZEROS: Final = memoryview(bytes(PIECE_BYTES))


class CounterMode:
    """The keystream of one key, read from its beginning.

    Args:
        key: 32 bytes.
        first_block: the first counter block, 16 bytes.

    Raises:
        MalformedMessage: the key or the block has another length.
    """

    def __init__(self, key: bytes, first_block: bytes = bytes(BLOCK_BYTES)) -> None:
        if len(key) != KEY_BYTES or len(first_block) != BLOCK_BYTES:
            raise MalformedMessage(
                f"a stream needs a key of {KEY_BYTES} bytes and a counter block of {BLOCK_BYTES}, "
                f"not {len(key)} and {len(first_block)}"
            )
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(first_block)).encryptor()

    def fill(self, out: NDArray[np.uint8]) -> None:
        """Overwrite ``out``, (n,) contiguous bytes, with the next n bytes of the stream."""
        target = out.data
        for start in range(0, len(out), PIECE_BYTES):
            piece = target[start : start + PIECE_BYTES]
            self._encryptor.update_into(_ZEROS[: len(piece)], piece)


class WordSource:
    """The same stream as 32-bit little-endian words, in a buffer that is used again and again.

    Args:
        stream: where the bytes come from; whatever has been read from it already is skipped.
        most: how many words one call may ask for, at least 1.
        buffer: (n,) contiguous bytes, to be used instead of new ones; ``most`` is then n/4.
    """

    def __init__(
        self, stream: CounterMode, most: int = PIECE_BYTES // 4, buffer: NDArray[np.uint8] | None = None
    ) -> None:
        self._stream = stream
        self._bytes = np.empty(4 * most, dtype=np.uint8) if buffer is None else buffer
        self._words = self._bytes.view(np.dtype("<u4"))
        self.most = len(self._words)

    def next(self, count: int) -> NDArray[np.uint32]:
        """The next ``count`` <= ``most`` words, (count,) uint32; valid until the next call."""
        self._stream.fill(self._bytes[: 4 * count])
        return self._words[:count]
