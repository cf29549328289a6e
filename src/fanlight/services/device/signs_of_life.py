"""Signs of life: main takes a device that is silent for long for one that is away.

Training takes long, and so do models and reports on a slow line. One thread is there for all turns of the agent: to
start one anew is waited for, and a round waits for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final

import structlog

from fanlight.errors import FanlightError

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0


class SignsOfLife:
    """In a ``with`` block that takes long, ``give`` is called every ``EVERY_S`` seconds, and never after its end.

    The thread is a daemon: it keeps no process from ending. It lasts until ``close``, and what ``give`` holds with it.
    """

    def __init__(self, give: Callable[[], object]) -> None:
        self._give = give
        self._changed = threading.Condition()
        self._block: object | None = None
        self._is_giving = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._changed:
            self._block = object()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fanlight-signs-of-life", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._block = None
            self._changed.wait_for(lambda: not self._is_giving)

    def close(self) -> None:
        """End the thread; a block that begins later starts another one."""
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def _lasts(self, block: object | None) -> bool:
        """Wait for another block than this one, or ``close``; did it last so long that a sign is due?"""
        due_s = None if block is None else EVERY_S
        has_changed = self._changed.wait_for(lambda: self._block is not block or self._is_closed(), due_s)
        return not has_changed

    def _is_closed(self) -> bool:
        return self._thread is not threading.current_thread()

    def _run(self) -> None:
        while True:
            with self._changed:
                lasts = self._lasts(self._block)
                if self._is_closed():
                    return
                if not lasts:
                    continue
                self._is_giving = True
            try:
                self._give()
            except FanlightError:
                pass  # the turn itself will hear of it
            except Exception:
                log.exception("no sign of life could be given")
            with self._changed:
                self._is_giving = False
                self._changed.notify_all()
