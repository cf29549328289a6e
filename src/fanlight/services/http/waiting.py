"""Wake long-polls when something changed, from any thread, at the cost of one future for each waiting request."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress


class Notifier:
    """A version that only grows, and requests that wait for it to grow.

    A request remembers the version it has seen, so a change between two polls is never missed: the second returns at
    once.
    """

    def __init__(self) -> None:
        self._version = 0
        self._closed = False
        self._waiting: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """How often ``notify`` was called."""
        return self._version

    @property
    def closed(self) -> bool:
        """Has the process's end begun?"""
        return self._closed

    def notify(self) -> None:
        """Something changed; wakes everybody.  Safe from any thread."""
        with self._lock:
            self._version += 1
            self._wake_all()

    def close(self) -> None:
        """The process ends: everybody is woken, and nobody waits any more."""
        with self._lock:
            self._closed = True
            self._wake_all()

    async def wait_beyond(self, version: int, timeout_s: float) -> int:
        """Wait until the version exceeds ``version``, at most ``timeout_s`` seconds; returns the present version."""
        with self._lock:
            if self._version > version or self._closed:
                return self._version
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(woken)
        try:
            await asyncio.wait((woken,), timeout=timeout_s)
        finally:
            with self._lock:
                self._waiting.discard(woken)
        return self._version

    def _wake_all(self) -> None:
        for woken in self._waiting:
            with suppress(RuntimeError):  # its loop has ended, and its request with it
                woken.get_loop().call_soon_threadsafe(_wake, woken)
        self._waiting.clear()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
