"""The body of a release: length of the signed release (4 bytes, big-endian) ‖ signed release ‖ Y (little-endian words).

Y is the longest of all messages, so it is read to where it will be unmasked: there is one copy of it only.
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
    """A release as it comes, in pieces that are cut anywhere."""

    def __init__(self) -> None:
        self._front = bytearray()
        self._start = _PREFIX
        self._words = bytearray()

    def take(self, piece: bytes) -> None:
        """Append a piece; how many may come is for the caller to see to.

        Raises:
            MalformedMessage: the signed release says that it is too long.
        """
        if len(self._front) == self._start > _PREFIX:
            self._words += piece
            return
        self._front += piece
        if len(self._front) < _PREFIX:
            return
        self._start = _PREFIX + int.from_bytes(self._front[:_PREFIX], "big")
        if not _PREFIX < self._start <= RELEASE_FRONT_LIMIT:
            raise MalformedMessage("This is not a release.")
        self._words += self._front[self._start :]
        del self._front[self._start :]

    def parts(self) -> tuple[bytes, NDArray[np.uint32]]:
        """The signed release, and Y, which may be changed in place.

        Raises:
            MalformedMessage: it ended too early, or not with a whole word.
        """
        if len(self._front) != self._start or self._start == _PREFIX or len(self._words) % WORD_BYTES:
            raise MalformedMessage("This is not a release.")
        return bytes(self._front[_PREFIX:]), np.frombuffer(self._words, "<u4").astype(np.uint32, copy=False)
