"""How much may be under way at once: of one sender, and of all. Whoever finds no room is told when to come back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fanlight.errors import Busy, Refused

TOO_MANY = "too-many-requests"


@dataclass
class Room:
    """Counts what is under way; used from one event loop only.

    Attributes:
        what: the things that are counted, in the plural.
        each: most of them of one sender.
        total: how much of all senders, in the unit of ``taken``.
        retry_s: about how long one of them takes, in seconds.
    """

    what: str
    each: int
    total: int
    retry_s: float
    _of_sender: Counter[bytes] = field(default_factory=Counter)
    _taken: int = 0

    def taken(self, sender: bytes, amount: int = 1) -> Taken:
        """Room for one more, for as long as the block takes."""
        return Taken(self, sender, amount)

    def has(self, sender: bytes) -> bool:
        """Is anything of this sender under way?"""
        return sender in self._of_sender

    def take(self, sender: bytes, amount: int) -> None:
        """Make it ``amount`` more.

        Raises:
            Refused: there are too many of this sender.
            Busy: there is too much of all senders.
        """
        advice = f"Try again in {self.retry_s:.0f} seconds."
        if self._of_sender[sender] >= self.each:
            raise Refused(
                f"Too many {self.what} of this device are under way.",
                slug=TOO_MANY,
                next=advice,
                device=sender.hex(),
                retry_after_s=self.retry_s,
            )
        if self._taken + amount > self.total:
            raise Busy(f"Too many {self.what} are under way.", next=advice, retry_after_s=self.retry_s)
        self._of_sender[sender] += 1
        self._taken += amount

    def leave(self, sender: bytes, amount: int) -> None:
        """What ``take`` made more is over."""
        self._taken -= amount
        self._of_sender[sender] -= 1
        if not self._of_sender[sender]:
            del self._of_sender[sender]


@dataclass(frozen=True, slots=True)
class Taken:
    """Some room for the length of a ``with`` block; errors as of ``Room.take``."""

    room: Room
    sender: bytes
    amount: int

    def __enter__(self) -> None:
        self.room.take(self.sender, self.amount)

    def __exit__(self, *_error: object) -> None:
        self.room.leave(self.sender, self.amount)
