"""Wake long-polls when something changed, from any thread, at the cost of one future for each waiting request.

Those whose time is up within the same tenth of a second share one timer: each has half as much memory as a request.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from typing import Final

_TICKS_A_SECOND: Final = 10


class Notifier:
    """A version that only grows, and requests that wait for it to grow.

    A request remembers the version it has seen, so a change between two polls is never missed: the second returns at
    once. Where a change concerns some only, it is a new version for them alone.
    """

    def __init__(self) -> None:
        self._version = 0
        self._of_all = 0
        self._of_some: dict[bytes, int] = {}
        self._closed = False
        self._waiting: dict[asyncio.Future[None], bytes | None] = {}
        self._alarms = _Alarms()
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """How often ``notify`` was called."""
        return self._version

    @property
    def closed(self) -> bool:
        """Has the process's end begun?"""
        return self._closed

    def version_for(self, who: bytes | None) -> int:
        """The version of the last change that concerned ``who``, or (None) everybody."""
        return self._of_all if who is None else max(self._of_all, self._of_some.get(who, 0))

    def notify(self, only: Collection[bytes] | None = None) -> None:
        """Something changed; wakes everybody, or those of ``only`` who wait.  Safe from any thread."""
        with self._lock:
            self._version += 1
            if only is None:
                self._of_all = self._version
                self._of_some.clear()
                self._wake(list(self._waiting))
            else:
                self._of_some.update(dict.fromkeys(only, self._version))
                self._wake([woken for woken, who in self._waiting.items() if who in only])

    def close(self) -> None:
        """The process ends: everybody is woken, and nobody waits any more."""
        with self._lock:
            self._closed = True
            self._wake(list(self._waiting))

    async def wait_beyond(self, version: int, timeout_s: float, who: bytes | None = None) -> int:
        """Wait until the version for ``who`` exceeds ``version``, or ``timeout_s`` are over; returns the present.

        Args:
            version: as ``version_for`` or ``version`` was.
            timeout_s: how long at most, but for a tick.
            who: waits; None for somebody whom only concerns what concerns everybody.
        """
        with self._lock:
            if self.version_for(who) > version or self._closed:
                return self.version_for(who)
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[woken] = who
        others = self._alarms.wake_in(timeout_s, woken)
        try:
            await woken
        finally:
            others.discard(woken)
            with self._lock:
                self._waiting.pop(woken, None)
        return self.version_for(who)

    def _wake(self, those: Collection[asyncio.Future[None]]) -> None:
        for woken in those:
            with suppress(RuntimeError):  # its loop has ended, and its request with it
                woken.get_loop().call_soon_threadsafe(_wake, woken)
            del self._waiting[woken]


class _Alarms:
    """Who is woken at which tick of an event loop's clock."""

    def __init__(self) -> None:
        self._due: defaultdict[tuple[asyncio.AbstractEventLoop, int], set[asyncio.Future[None]]] = defaultdict(set)

    def wake_in(self, timeout_s: float, woken: asyncio.Future[None]) -> set[asyncio.Future[None]]:
        """Returns those who are woken with it: whoever has been woken before leaves them."""
        loop = woken.get_loop()
        tick = math.ceil((loop.time() + timeout_s) * _TICKS_A_SECOND)
        those = self._due[loop, tick]
        if not those:
            loop.call_at(tick / _TICKS_A_SECOND, self._ring, loop, tick)
        those.add(woken)
        return those

    def _ring(self, loop: asyncio.AbstractEventLoop, tick: int) -> None:
        for woken in self._due.pop((loop, tick), ()):
            _wake(woken)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
