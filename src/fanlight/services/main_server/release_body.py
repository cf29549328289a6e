"""The body of a release: length of the signed release (4 bytes, big-endian) ‖ signed release ‖ Y (little-endian words).

Y is the longest of all messages, so it is read to where it will be unmasked: there is one copy of it only. That place
is taken at once, and no memory but an address until something comes: NumPy asks for it in large pages, and nothing that
is there already is moved. With 3.5M parameters that takes 2 ms; 11 in a ``bytearray`` that grows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.ring import WORD_BYTES
from fanlight.errors import MalformedMessage

_PREFIX: Final = 4
RELEASE_FRONT_LIMIT: Final = 16_384
"""Most bytes before Y."""


class ReleaseBody:
    """A release as it comes, in pieces that are cut anywhere.

    Args:
        limit: most bytes that may come, which is for the caller to see to.
    """

    def __init__(self, limit: int) -> None:
        self._front = bytearray()
        self._start = _PREFIX
        self._words = np.empty(limit, np.uint8)
        self._end = 0

    def take(self, piece: bytes) -> None:
        """Append a piece.

        Raises:
            MalformedMessage: the signed release says that it is too long.
        """
        if len(self._front) == self._start > _PREFIX:
            self._append(piece)
            return
        self._front += piece
        if len(self._front) < _PREFIX:
            return
        self._start = _PREFIX + int.from_bytes(self._front[:_PREFIX], "big")
        if not _PREFIX < self._start <= RELEASE_FRONT_LIMIT:
            raise MalformedMessage("This is not a release.")
        self._append(self._front[self._start :])
        del self._front[self._start :]

    def parts(self) -> tuple[bytes, NDArray[np.uint32]]:
        """The signed release, and Y, which may be changed in place.

        Raises:
            MalformedMessage: it ended too early, or not with a whole word.
        """
        if len(self._front) != self._start or self._start == _PREFIX or self._end % WORD_BYTES:
            raise MalformedMessage("This is not a release.")
        words = self._words[: self._end].view("<u4")
        return bytes(self._front[_PREFIX:]), words.astype(np.uint32, copy=False)

    def _append(self, part: bytes | bytearray) -> None:
        start, self._end = self._end, self._end + len(part)
        self._words.data[start : self._end] = part
