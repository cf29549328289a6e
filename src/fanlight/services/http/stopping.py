"""Hear of the process's end in time.

A web server that is told to end waits for the answers under way, and ends the application's lifespan only after them;
a long-poll answers when its time is over.  So whoever lets requests wait has to hear of the signal itself.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_stop_signal(wake: Callable[[], object]) -> Iterator[None]:
    """For a lifespan: call ``wake`` on the event loop as soon as a signal tells the process to end.

    What the web server (uvicorn, gunicorn's worker) does on that signal, it does all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signals here: whoever runs this thread's loop ends it
        return
    loop = asyncio.get_running_loop()
    servers_own = {number: found for number in _STOP_SIGNALS if callable(found := signal.getsignal(number))}

    def hear(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(wake)  # not here: what the signal interrupted may hold the lock that this needs
        servers_own[signal.Signals(number)](number, frame)

    for number in servers_own:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in servers_own.items():
            signal.signal(number, handler)
