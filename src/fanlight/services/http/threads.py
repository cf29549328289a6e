"""Work in threads, beside the event loop: what waits for the disk, or computes for long.

Starlette's own way, by anyio, takes twice as long for each call, of which a round has a dozen at each server.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_THREADS: Final = ThreadPoolExecutor(40, thread_name_prefix="fanlight-beside")
"""As many as anyio has; what comes while all are at work waits."""


async def in_thread(do: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What ``do`` returns or raises, called in a thread, in the context of the caller.

    Who is cancelled meanwhile ends when ``do`` has: what it works with may be closed after that. If it has not begun,
    it does not begin.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def wake(_work: Future[R]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and whoever waited with it
            loop.call_soon_threadsafe(_wake, ended)

    work = _THREADS.submit(contextvars.copy_context().run, functools.partial(do, *args, **kwargs))
    work.add_done_callback(wake)
    try:
        await ended
    except asyncio.CancelledError:
        if not work.cancel():
            await _end_of(work)  # what it brings is of no interest: whoever it was for has gone
        raise
    return work.result()


async def _end_of(work: Future[R]) -> None:
    """Wait for it, however often the caller is cancelled."""
    ended = asyncio.wrap_future(work)
    while not ended.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait((ended,))
    ended.exception()


def _wake(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
