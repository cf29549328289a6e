"""Which devices would change something in the sums that the head is solved from, as they have said themselves.

Kept in memory: a device says it again whenever a round is over or main was started anew. Nobody needs it to be right:
what a device really changes is in its report, and the sum says by how many devices it grows or shrinks. It tells when a
round of changes is worth opening, and keeps the rest from becoming too small: a device of which is not known that it
joins or stays counts as one that leaves.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from fanlight.protocol.exchange import Change


class Changers:
    """Who has said what."""

    def __init__(self) -> None:
        self._said: dict[bytes, tuple[int, Change]] = {}
        self._lock = threading.Lock()

    def say(self, device: bytes, collection: int, change: Change | None) -> bool:
        """Note what a device would change in a collection of sums, or that it is nothing; is it news?"""
        with self._lock:
            before = self._said.pop(device, None)
            if change is not None:
                self._said[device] = (collection, change)
            return self._said.get(device) != before

    def forget(self, device: bytes) -> None:
        """The device has left."""
        with self._lock:
            self._said.pop(device, None)

    @property
    def many(self) -> int:
        """Devices that have said something, wherever they are now."""
        return len(self._said)

    def begin_anew(self) -> None:
        """A round of changes is over: whoever still has something to change says so again."""
        with self._lock:
            self._said.clear()

    def of(self, collection: int | None, among: Collection[bytes], is_there: Callable[[bytes], bool]) -> set[bytes]:
        """The devices that would change something in the collection, and are there."""
        with self._lock:
            said = dict(self._said)
        return {device for device, (of, _) in said.items() if of == collection and device in among and is_there(device)}

    def counts(self, devices: Collection[bytes]) -> Mapping[Change, int]:
        """How many of these devices would do what."""
        with self._lock:
            found = Counter(self._said[device][1] for device in devices if device in self._said)
        return {change: found[change] for change in Change}

    def left_after(self, counted: int, collection: int | None, reporting: Collection[bytes]) -> int:
        """Of how many devices the sums are after these have reported, at least."""
        with self._lock:
            said = {device: change for device, (of, change) in self._said.items() if of == collection}
        joining = sum(said.get(device) is Change.JOINS for device in reporting)
        staying = sum(said.get(device) is Change.CHANGES for device in reporting)
        return counted + joining - (len(reporting) - joining - staying)
