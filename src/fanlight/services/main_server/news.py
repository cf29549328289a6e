"""Who is woken when something has changed: devices and the aggregator in their long-polls, the policy, pages, steps."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from fanlight.protocol.main_round import State
from fanlight.services.http.jobs import JobStopped
from fanlight.services.http.room import Room, Taken
from fanlight.services.http.waiting import Notifier
from fanlight.services.main_server.pace import LONGEST_OFFER_WAIT_S
from fanlight.services.main_server.round_table import RoundLine

LONGEST_WAIT_S: Final = 1.0
"""How long news for devices may wait for the manifest of a round that is being opened."""
WAITING_EACH: Final = 4
"""Most requests of one device that wait for news at a time: one, and what is left of connections that have died."""
WAITING: Final = 20_000
"""The same of all devices, at about 20 kB each; pauses between polls keep it far lower (see ``pace``)."""


class News:
    """Wakes them.

    Args:
        clock: unix seconds.
        monotonic: seconds that only grow.
        pages: those of the owner.

    Attributes:
        offers, orders: devices and the aggregator wait for these.
        policy: whoever runs it waits for this.
    """

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float], pages: Notifier) -> None:
        self.offers = Notifier()
        self.orders = Notifier()
        self.policy = Notifier()
        self._changed = threading.Condition()  # held for a moment only, since event loops take it as well
        self._changes = 0
        self._closed = False
        self._pages = pages
        self._monotonic = monotonic
        # Versions of offers and orders must not repeat after a restart, or a waiting peer would miss a change.
        self._version_base = int(clock() * 1000)
        self._members_changes = 0
        self._since: float | None = None
        self._waiting = Room("requests for news", each=WAITING_EACH, total=WAITING, retry_s=LONGEST_OFFER_WAIT_S / 2)

    def close(self) -> None:
        """The process ends: answer every request that waits, and let no other one wait; steps by hand end."""
        for notifier in (self.offers, self.orders, self.policy, self._pages):
            notifier.close()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def tell(
        self,
        *,
        offers: bool | Collection[bytes] = False,
        soon: bool = False,
        orders: bool = False,
        members: bool = False,
    ) -> None:
        """Something changed: wake the policy, the pages, whoever waits for a step, and those whom it concerns.

        Args:
            offers: devices are woken now: all, or those of a round's cohort.
            soon: devices are woken as soon as there is nothing that they would be woken for again in a moment.
            orders: the aggregator is woken.
            members: it is woken, and asks for the list of members.
        """
        self._members_changes += members
        if soon and self._since is None:
            self._since = self._monotonic()
        if orders or members:
            self.orders.notify()
        if offers is True:
            self._wake_devices()
        elif offers:
            self.offers.notify(frozenset(offers))
        self.policy.notify()
        self._pages.notify()
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    @property
    def changes(self) -> int:
        """How often ``tell`` was called; who reads this before looking at anything misses nothing that comes after."""
        return self._changes

    def changes_beyond(self, seen: int, timeout_s: float) -> int:
        """Block a step by hand until ``changes`` exceeds ``seen``, or ``timeout_s`` are over; returns the present.

        Raises:
            JobStopped: the process ends.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._changes > seen, timeout_s)
            if self._closed:
                raise JobStopped
            return self._changes

    def spread(self, latest: Callable[[], RoundLine | None]) -> bool:
        """Wake the devices if there is news for them, unless a round is about to open, which will wake them anyway.

        Args:
            latest: the newest round, asked for only then.

        Returns:
            does news wait for a round?
        """
        if self._since is None:
            return False
        line = latest()
        opening = line is not None and line.at is State.PROPOSED
        if opening and self._monotonic() - self._since < LONGEST_WAIT_S:
            return True
        self._wake_devices()
        return False

    @property
    def members_version(self) -> int:
        """Changes whenever the list of members may have."""
        return self._version_base + self._members_changes

    def version_of(self, notifier: Notifier, who: bytes | None = None) -> int:
        """The version that long-polls compare; ``who`` asks."""
        return self._version_base + notifier.version_for(who)

    def room_to_wait(self, device: bytes) -> Taken:
        """For a block in which a request of this device waits.

        Raises:
            Refused, Busy: when the block begins: too many wait already, see ``Room``.
        """
        return self._waiting.taken(device)

    def end_waiting(self, device: bytes) -> None:
        """It asks for what there is now, so it waits no more: what waits in its name was broken off, and gives way."""
        if self._waiting.has(device):
            self.offers.release(device)

    def wait_for_offer(self, device: bytes, after: int, timeout_s: float) -> Awaitable[object]:
        """As ``wait_beyond``, for one device, but not as long as it likes."""
        return self.wait_beyond(self.offers, after, min(timeout_s, LONGEST_OFFER_WAIT_S), device)

    def wait_beyond(
        self, notifier: Notifier, after: int, timeout_s: float, who: bytes | None = None
    ) -> Awaitable[object]:
        """Wait until the version for ``who`` differs from ``after``, or for ``timeout_s``."""
        seen = after - self._version_base if after == self.version_of(notifier, who) else -1  # which is long past
        return notifier.wait_beyond(seen, timeout_s, who)

    def _wake_devices(self) -> None:
        self._since = None
        self.offers.notify()
