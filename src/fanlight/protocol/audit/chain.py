"""A chain of hashes, followed beyond a break: each wrong entry is named, and what follows is still checked."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from fanlight.protocol.audit.findings import Flaw, Flawed
from fanlight.protocol.log import ChainedEntry, LogEntry, first_head, next_head

_RECENT: Final = 1 << 16
"""Heads that are remembered: a verdict names the one at which the judging began, a few entries before it."""


class Chain:
    """Follows one chain.

    Attributes:
        number: of the last entry.
        head: as written beside it.
        is_whole: nothing was found wrong so far.

    Args:
        fid: the federation.
        role: whose log.
    """

    def __init__(self, fid: bytes, role: str) -> None:
        self.number = 0
        self.head = first_head(fid, role)
        self.is_whole = True
        self._computed = self.head
        self._recent = deque([self.head], maxlen=_RECENT)

    def follow(self, entry: ChainedEntry) -> None:
        """Take the next entry.

        Raises:
            Flawed: it does not follow. The chain goes on behind it; its content is not to be trusted.
        """
        expected = self.number + 1
        if entry.number < expected:
            self.is_whole = False
            raise Flawed(Flaw.DISORDER, f"Entry {entry.number} stands behind entry {self.number}.")
        last = LogEntry(entry.type, entry.payload)
        computed = next_head(entry.number, self.head, last)
        follows = entry.head in (computed, next_head(entry.number, self._computed, last))
        # A wrong head is one flaw, not two: the next entry may follow the head as written, or as it should have been.
        self.number, self.head, self._computed = entry.number, entry.head, entry.head if follows else computed
        self._recent.append(entry.head)
        if entry.number > expected:
            self.is_whole = False
            raise Flawed(Flaw.MISSING, _missing(expected, entry.number - 1))
        if not follows:
            self.is_whole = False
            raise Flawed(Flaw.ALTERED, f"Entry {entry.number} ({entry.type}) was altered, or the head beside it.")

    def before(self, count: int) -> bytes:
        """The head before the last ``count`` entries, a few."""
        return self._recent[-1 - count]

    def number_of(self, head: bytes) -> int | None:
        """The entry, before the last one and not long ago, after which this was the head; None if it was after none.

        It is the entry's number only as long as the chain is whole.
        """
        for back, known in enumerate(islice(reversed(self._recent), 1, None), 1):
            if known == head:
                return self.number - back
        return None


def _missing(first: int, last: int) -> str:
    return f"Entry {first} is missing." if first == last else f"Entries {first} to {last} are missing."
