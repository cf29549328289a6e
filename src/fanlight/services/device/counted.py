"""What of this device is counted at main, where a head is solved from sums: the exact integers that it sent last.

They are needed to take them back: whoever changes sends the difference to them, and whoever leaves sends them with the
opposite sign. What was sent is counted from the moment at which its round is known to be released with this device in
the sum; until then it is in question, and no other round of sums is answered. Sums are those of a collection, named by
the round that began it: when main has collected them anew without this device, nothing of it is counted any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy import Connection

from fanlight.errors import Refused
from fanlight.protocol.exchange import Change
from fanlight.protocol.message import U32, Flag, Hash, Message, Name, Time
from fanlight.services.device.values import Values, put, stored

_COUNTED: Final = "counted-sums"
_IN_QUESTION: Final = "sums-in-question"
_FORGOTTEN: Final = "forgotten"
OLDER_COLLECTION: Final = "older-collection"
"""Main has gone back to sums from before those that this device is counted in: a difference to these would be wrong."""


class Counted(Message):
    """What main counts of this device.

    Attributes:
        collection: the round that began to collect what it is counted in. round: in which it came to be so.
        sums: SHA-256 of the file with the integers.
        examples: training pictures. supporters: per class, were there training pictures of it.
        pictures: a digest of them and their labels (see ``Pictures``).
    """

    collection: U32
    round: U32
    sums: Hash
    examples: U32
    supporters: Annotated[tuple[Flag, ...], Field(max_length=1000)]
    pictures: Hash


class InQuestion(Message):
    """A report that is not known to count yet: its manifest, and what is counted if it does; absent: nothing.

    ``change``: what main was told of it, and is told again if it was started anew meanwhile.
    """

    mh: Hash
    round: U32
    then: Counted | None = None
    change: Name | None = None


class Forgotten(Message):
    """Nothing of this device is counted any more since ``round``; known ``at`` (unix seconds)."""

    round: U32
    at: Time


@dataclass(frozen=True)
class Account:
    """This device's account of it."""

    values: Values

    @property
    def counted(self) -> Counted | None:
        """What is counted now, as far as is known."""
        return self.values.read(Counted, _COUNTED)

    @property
    def in_question(self) -> InQuestion | None:
        """The report that decides it."""
        return self.values.read(InQuestion, _IN_QUESTION)

    @property
    def forgotten(self) -> Forgotten | None:
        """Since when nothing is counted any more, if this device was forgotten."""
        return self.values.read(Forgotten, _FORGOTTEN)

    @property
    def files(self) -> tuple[bytes, ...]:
        """SHA-256 of the files with sums that are needed."""
        asked = self.in_question
        needed = (self.counted, asked.then if asked else None)
        return tuple(each.sums for each in needed if each is not None)

    def counted_in(self, collection: int) -> Counted | None:
        """What is counted in this collection.

        Raises:
            Refused: it is older than the one that this device is counted in.
        """
        counted = self.counted
        if counted is not None and counted.collection > collection:
            raise Refused(
                f"The round changes sums of round {collection}, and this device is counted in those of round "
                f"{counted.collection}.",
                slug=OLDER_COLLECTION,
                next="The main server has gone back to an older state. Ask the operator to have the head solved anew.",
            )
        return counted if counted is not None and counted.collection == collection else None

    def change(self, collection: int | None, pictures: bytes | None, *, leaves: bool) -> Change | None:
        """What this device would change in main's sums now, or does by a report that is in question; None if nothing.

        Args:
            collection: of main's, if there is one.
            pictures: the digest of those that are here, empty if there are none to learn from; None if not known yet.
            leaves: is this device to be forgotten?
        """
        counted, asked = self.counted, self.in_question
        if collection is None or (counted and counted.collection > collection):
            return None
        if asked is not None:
            return Change(asked.change) if asked.change else None
        if counted is None or counted.collection < collection:
            return Change.JOINS if pictures and not leaves else None
        if leaves or pictures == b"":
            return Change.LEAVES
        return Change.CHANGES if pictures not in (None, counted.pictures) else None

    def nothing_changed(self, pictures: bytes) -> None:
        """Other pictures, or labels, came to the same sums."""
        counted = self.counted
        if counted is not None:
            self.values.keep(_COUNTED, counted.with_(pictures=pictures))


def sent(tx: Connection, asked: InQuestion) -> None:
    """A report with sums was made."""
    put(tx, _IN_QUESTION, asked)


def ended(tx: Connection, mh: bytes, *, counted: bool, now: int) -> None:
    """A round is over; was this device's report in a released sum?"""
    asked = stored(tx, InQuestion, _IN_QUESTION)
    if asked is None or asked.mh != mh:
        return
    put(tx, _IN_QUESTION, None)
    if not counted:
        return
    put(tx, _COUNTED, asked.then)
    put(tx, _FORGOTTEN, None if asked.then else Forgotten(round=asked.round, at=now))
