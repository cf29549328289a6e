"""Work in threads beside the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fanlight.services.http import threads
from fanlight.services.http.threads import in_thread

_CALLER = contextvars.ContextVar("_CALLER", default="nobody")


def test_it_is_called_in_a_thread_in_the_context_of_the_caller() -> None:
    def look(one: int, *, two: int) -> tuple[str, int, int]:
        return _CALLER.get(), threading.get_ident(), one + two

    async def ask() -> tuple[str, int, int]:
        _CALLER.set("a request")
        return await in_thread(look, 1, two=2)

    caller, thread, total = asyncio.run(ask())
    assert (caller, total) == ("a request", 3)
    assert thread != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_what_it_raises_the_caller_gets(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(in_thread(fail))


def test_the_end_of_an_iteration_does_not_leave_the_caller_waiting() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(asyncio.wait_for(in_thread(next, iter(())), 60))


@pytest.mark.parametrize("times", [1, 5])
def test_who_is_cancelled_however_often_ends_when_the_work_has(times: int) -> None:
    began, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        may_end.wait(60)
        has_ended.set()
        raise ValueError("of no interest to anybody any more")

    async def cancel() -> None:
        task = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(began.wait, 60)
        for _ in range(times):
            task.cancel()
            done, _ = await asyncio.wait((task,), timeout=0.05)
            assert not done
        may_end.set()
        await asyncio.wait((task,), timeout=60)
        assert task.cancelled()
        assert has_ended.is_set()

    asyncio.run(cancel())


def test_what_was_cancelled_before_it_began_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, called = threading.Event(), list[str]()

    async def cancel() -> None:
        with ThreadPoolExecutor(1) as only_one:
            monkeypatch.setattr(threads, "_THREADS", only_one)
            first = asyncio.create_task(in_thread(may_end.wait, 60))
            second = asyncio.create_task(in_thread(called.append, "second"))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait((second,), timeout=60)
            assert second.cancelled()
            may_end.set()
            await first

    asyncio.run(cancel())
    assert called == []


def test_a_loop_that_has_ended_does_no_harm(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    may_end = threading.Event()
    asked = in_thread(may_end.wait, 60)

    async def ask_and_go() -> None:
        asked.send(None)

    with ThreadPoolExecutor(1) as only_one:
        monkeypatch.setattr(threads, "_THREADS", only_one)
        asyncio.run(ask_and_go())
        may_end.set()
    asked.close()
    assert caplog.records == []
