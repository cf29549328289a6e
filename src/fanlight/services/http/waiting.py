"""Wake long-polls when something changed, from any thread, at the cost of one future for each waiting request.

Thousands wait long, for a timer each would be half a kilobyte; so long waits that are over within the same tenth of a
second share one. Short waits have their own, which ends with them.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Final

_LONG_S: Final = 6.0
"""From here on, waits end up to a tick late."""
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

    def release(self, who: bytes) -> None:
        """Wake ``who``, although nothing changed."""
        with self._lock:
            self._wake([woken for woken, waits in self._waiting.items() if waits == who])

    def close(self) -> None:
        """The process ends: everybody is woken, and nobody waits any more."""
        with self._lock:
            self._closed = True
            self._wake(list(self._waiting))

    async def wait_beyond(self, version: int, timeout_s: float, who: bytes | None = None) -> int:
        """Wait until the version for ``who`` exceeds ``version``, or ``timeout_s`` are over; returns the present.

        Args:
            version: as ``version_for`` or ``version`` was.
            timeout_s: how long at most, seconds; of a long wait, up to a tenth of a second more.
            who: waits; None for somebody whom only concerns what concerns everybody.
        """
        with self._lock:
            if self.version_for(who) > version or self._closed:
                return self.version_for(who)
            loop = asyncio.get_running_loop()
            woken: asyncio.Future[None] = loop.create_future()
            self._waiting[woken] = who
        is_long = timeout_s >= _LONG_S
        disarm = self._alarms.arm(timeout_s, woken) if is_long else loop.call_later(timeout_s, _wake, woken).cancel
        try:
            await woken
        finally:
            disarm()
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
        self._due: dict[tuple[asyncio.AbstractEventLoop, int], set[asyncio.Future[None]]] = {}

    def arm(self, timeout_s: float, woken: asyncio.Future[None]) -> Callable[[], None]:
        """Wake it at the first tick after that time, unless what is returned is called before."""
        loop = woken.get_loop()
        tick = math.ceil((loop.time() + timeout_s) * _TICKS_A_SECOND)
        those = self._due.get((loop, tick))
        if those is None:
            those = self._due[loop, tick] = set()
            loop.call_at(tick / _TICKS_A_SECOND, self._ring, loop, tick)
        those.add(woken)
        return partial(those.discard, woken)

    def _ring(self, loop: asyncio.AbstractEventLoop, tick: int) -> None:
        for woken in self._due.pop((loop, tick)):
            _wake(woken)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
