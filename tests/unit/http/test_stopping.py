"""Whoever lets requests wait hears of the process's end before the web server's lifespan does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from fanlight.services.http.stopping import on_stop_signal
from fanlight.services.http.waiting import Notifier


@pytest.fixture
def server_heard() -> Iterator[list[int]]:
    """What the web server's own handlers, installed before the lifespan begins, were told."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda given, _: heard.append(given)) for number in (2, 15)}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_wakes_a_long_poll_and_reaches_the_server(server_heard: list[int], number: signal.Signals) -> None:
    notifier = Notifier()

    async def serve() -> None:
        with on_stop_signal(notifier.close):
            waiting = asyncio.create_task(notifier.wait_beyond(0, timeout_s=600))
            await asyncio.sleep(0)
            os.kill(os.getpid(), number)
            await waiting

    asyncio.run(serve())
    assert server_heard == [number]
    os.kill(os.getpid(), number)  # after the lifespan, the server's handlers are as they were
    assert server_heard == [number, number]


def test_outside_the_main_thread_it_touches_no_signal() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def serve() -> None:
        with on_stop_signal(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is before

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
