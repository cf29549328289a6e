import asyncio
import threading

import pytest

from fanlight.services.http import waiting
from fanlight.services.http.waiting import Notifier


def test_a_change_that_was_missed_returns_at_once() -> None:
    notifier = Notifier()
    notifier.notify()
    assert asyncio.run(notifier.wait_beyond(0, 60)) == 1


def test_without_a_change_it_returns_the_same_version_after_the_time_and_forgets_the_waiter() -> None:
    notifier = Notifier()
    assert asyncio.run(notifier.wait_beyond(0, 0.01)) == 0
    assert not notifier._waiting


def test_a_thread_wakes_everybody_who_waits() -> None:
    notifier = Notifier()

    async def wait_all() -> list[int]:
        waiting = [asyncio.create_task(notifier.wait_beyond(0, 60)) for _ in range(50)]
        await asyncio.sleep(0)
        assert len(notifier._waiting) == 50
        threading.Thread(target=notifier.notify).start()
        return await asyncio.gather(*waiting)

    assert asyncio.run(wait_all()) == [1] * 50
    assert not notifier._waiting


def test_a_cancelled_request_is_forgotten() -> None:
    notifier = Notifier()

    async def give_up() -> None:
        waiting = asyncio.create_task(notifier.wait_beyond(0, 60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(give_up())
    assert not notifier._waiting
    notifier.notify()
    assert notifier.version == 1


def test_closing_wakes_everybody_and_nobody_waits_afterwards() -> None:
    notifier = Notifier()

    async def close_while_waiting() -> tuple[int, int]:
        waiting = asyncio.create_task(notifier.wait_beyond(0, 60))
        await asyncio.sleep(0)
        notifier.close()
        return await waiting, await notifier.wait_beyond(0, 60)

    assert asyncio.run(close_while_waiting()) == (0, 0)


def test_a_change_for_some_wakes_them_and_nobody_else() -> None:
    notifier, one, other = Notifier(), b"one", b"other"

    async def wait_both() -> tuple[int, bool]:
        first = asyncio.create_task(notifier.wait_beyond(0, 60, one))
        second = asyncio.create_task(notifier.wait_beyond(0, 60, other))
        await asyncio.sleep(0)
        notifier.notify({one})
        woken = await first
        asleep = not second.done()
        notifier.notify()
        assert await second == 2
        return woken, asleep

    assert asyncio.run(wait_both()) == (1, True)
    assert not notifier._waiting


def test_what_concerned_some_is_not_missed_by_them_and_no_news_for_others() -> None:
    notifier, one, other = Notifier(), b"one", b"other"
    notifier.notify({one})
    assert asyncio.run(notifier.wait_beyond(0, 60, one)) == 1
    assert asyncio.run(notifier.wait_beyond(0, 0.01, other)) == 0
    notifier.notify()
    assert [notifier.version_for(who) for who in (one, other, None)] == [2, 2, 2]
    notifier.notify({other})
    assert [notifier.version_for(who) for who in (one, other, None)] == [2, 3, 2]


def timers() -> int:
    """Of the running loop, without those that were cancelled."""
    return sum(not timer.cancelled() for timer in asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]


def test_long_waits_that_end_together_share_a_timer_and_all_of_them_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LONG_S", 0.0)
    notifier = Notifier()

    async def wait_all() -> list[int]:
        long = [asyncio.create_task(notifier.wait_beyond(0, 0.15)) for _ in range(50)]
        await asyncio.sleep(0)
        assert timers() <= 2, "one, unless a tick has passed meanwhile"
        long.pop(0).cancel()
        return await asyncio.gather(*long)

    assert asyncio.run(wait_all()) == [0] * 49
    assert not notifier._waiting
    assert not notifier._alarms._due


@pytest.mark.parametrize("wait_s", [1.0, 60.0], ids=["short", "long"])
def test_who_is_woken_again_and_again_leaves_no_timer_each_time(wait_s: float) -> None:
    notifier = Notifier()

    async def be_woken() -> None:
        for version in range(200):
            waits = asyncio.create_task(notifier.wait_beyond(version, wait_s))
            await asyncio.sleep(0)
            notifier.notify()
            assert await waits == version + 1
        assert timers() < 100

    asyncio.run(be_woken())
