import asyncio
import threading

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
