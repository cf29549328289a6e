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

    The thread is a daemon: it keeps no process from ending.
    """

    def __init__(self, give: Callable[[], object]) -> None:
        self._give = give
        self._changed = threading.Condition()
        self._block = 0
        self._is_inside = self._is_giving = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._changed:
            self._block += 1
            self._is_inside = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fanlight-signs-of-life", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_inside = False
            self._changed.wait_for(lambda: not self._is_giving)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_inside)
                block = self._block
                if self._changed.wait_for(lambda: self._block != block, EVERY_S) or not self._is_inside:  # noqa: B023
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
