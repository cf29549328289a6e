"""A deadline that is kept whatever anybody else is waiting for."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class Deadline:
    """Calls when the time is up, in a thread of its own.

    Args:
        left_s: in how many seconds that is; infinite while nothing is waited for. More than 0, or it would be asked
            again at once. Must not raise.
        when_up: is called then, and again after ``left_s`` if that goes on being finite; must not raise.
        name: of the thread.
    """

    def __init__(self, left_s: Callable[[], float], when_up: Callable[[], object], name: str) -> None:
        self._left_s = left_s
        self._when_up = when_up
        self._due = math.inf
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def look(self) -> None:
        """The time may be up earlier than it was: from the thread that made it so. Later is found out by itself."""
        due = time.monotonic() + self._left_s()
        with self._changed:
            if due < self._due:
                self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Wait no more; a call that is under way is given ``timeout_s`` seconds to end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                left_s = self._left_s()
                self._due = time.monotonic() + left_s
                woken = self._changed.wait(min(left_s, threading.TIMEOUT_MAX))
            if not woken:
                self._when_up()
