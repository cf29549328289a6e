"""Has all devices of a fleet live: each waits for news in a long-poll of its own, a few threads do what there is to do.

A device that waits is a connection, a task of the event loop, and a thread that sleeps. What takes a server or the
processor, its turns, queue for a few more threads: vectors are in memory only of those whose turn it is. A turn that
waits long for a thread gives signs of life meanwhile, as a deployed device does that trains long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from fanlight.errors import NotEnrolled, NotPossibleNow, RemoteError, Unreachable
from fanlight.protocol.exchange import Offer
from fanlight.services.device import knocks
from fanlight.services.fleet.device import SimulatedDevice
from fanlight.services.http.backoff import Backoff
from fanlight.services.http.wire import Wire

R = TypeVar("R")

THREADS: Final = 8
"""Most of a turn is waiting for servers that store reports together."""
_POLL_WAIT_S: Final = 10.0
_SIGN_OF_LIFE_S: Final = 5.0
_SAY_AGAIN_S: Final = 60.0
_LAST_S: Final = 2.0
"""Within it, a measuring round opens if one does when the last version is out."""
_REFUSALS: Final = 8
"""Servers that have only just heard of a device may refuse it for a moment; so often in a row they mean it."""


class Fleet:
    """The devices.

    Args:
        devices: in the order of their numbers.
        jitter: a number in [0, 1), fresh each call.
        on_news: told what goes wrong.
        is_measuring: must devices stay, though nothing is to be learned any more? Only what they do changes it.
    """

    def __init__(
        self,
        devices: Sequence[SimulatedDevice],
        jitter: Callable[[], float],
        on_news: Callable[[str], object],
        is_measuring: Callable[[], bool],
    ) -> None:
        self._devices = devices
        self._is_measuring = is_measuring
        self._jitter = jitter
        self._on_news = on_news
        self._pool: ThreadPoolExecutor
        self._waiting: ThreadPoolExecutor
        self._has_turned: asyncio.Event
        self._said: dict[str, float] = {}
        self._is_over: Callable[[], object] = lambda: None

    def end(self) -> None:
        """Have ``live`` return; from any thread."""
        self._is_over()

    async def live(self) -> None:
        """Until ``end``, and a moment longer: to measure what was learned last, and to say good-bye to the next round.

        Raises:
            NotPossibleNow: no device is a member any more.
            FanlightError: a server means its refusal, or a device cannot go on.
        """
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._is_over = lambda: loop.call_soon_threadsafe(over.set)
        self._has_turned = asyncio.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fanlight-fleet")
        self._waiting = ThreadPoolExecutor(len(self._devices), thread_name_prefix="fanlight-wait")
        waiting = asyncio.create_task(self._until(over))
        tasks = [asyncio.create_task(self._live(device)) for device in self._devices]
        try:
            left = set(tasks)
            while left and not waiting.done():
                gone = (await asyncio.wait({waiting, *left}, return_when=asyncio.FIRST_COMPLETED))[0] & left
                for task in gone:
                    task.result()
                left -= gone
            if not left:
                raise NotPossibleNow("No device of this fleet is a member any more.", slug="nobody-left")
        finally:
            waiting.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(waiting, *tasks, return_exceptions=True)
            self._pool.shutdown(cancel_futures=True)
            self._waiting.shutdown(cancel_futures=True)

    async def _until(self, over: asyncio.Event) -> None:
        await over.wait()
        await asyncio.sleep(_LAST_S)
        while self._is_measuring():
            self._has_turned.clear()  # misses no turn since the look: that one ends, for this loop, only after it
            await self._has_turned.wait()

    async def _live(self, device: SimulatedDevice) -> None:
        """One device, for as long as it is a member."""
        try:
            await self._take_part(device)
        except NotEnrolled as error:
            self._on_news(f"{error.message} The others go on.")
            device.shared.journal.gone(device.number)
            self._has_turned.set()

    async def _take_part(self, device: SimulatedDevice) -> None:
        with device.main.remote.open_line() as line:
            try:
                await self._follow_offers(device, line)
            finally:
                line.break_off()  # its thread may be waiting

    async def _follow_offers(self, device: SimulatedDevice, line: Wire) -> None:
        offer: Offer | None = None
        failing, asking = Backoff(self._jitter), Backoff(self._jitter, first_s=1.0, longest_s=20.0)
        pause_s: int | None = None
        refusals = 0
        await self._enrol(device)
        while True:
            wait_s = _POLL_WAIT_S if device.is_at_rest(offer) else asking.next()
            try:
                after, wait_s = (offer.version, wait_s) if offer else (0, 0.0)
                offer = await self._beside(self._waiting, device.poll, line, after, wait_s)
                await self._turn(device, offer)
            except RemoteError as error:
                refusals += not _may_pass(error)
                if refusals >= _REFUSALS:
                    raise
                if isinstance(error, NotEnrolled):
                    device.forgotten()
                    await self._enrol(device)
                self._note(error.message)
                awaited = offer is None or offer.manifest is not None or not device.is_at_rest(offer)
                offer = None  # asks at once, when it comes back
                longest_s = knocks.longest_s(awaited=awaited, pause_s=pause_s)
                await asyncio.sleep(failing.next(error.retry_after_s, longest_s))
                continue
            refusals, pause_s = 0, offer.pause_s
            failing.reset()
            if device.is_at_rest(offer):
                asking.reset()
                await asyncio.sleep(self._jitter() * (offer.pause_s or 0))

    async def _enrol(self, device: SimulatedDevice) -> None:
        """Join, however long a server does not answer; a refusal is final."""
        failing = Backoff(self._jitter)
        while True:
            try:
                await self._beside(self._pool, device.enrol)
            except RemoteError as error:
                if not _may_pass(error):
                    raise
                self._note(error.message)
                await asyncio.sleep(failing.next(error.retry_after_s))
            else:
                return

    async def _turn(self, device: SimulatedDevice, offer: Offer) -> None:
        turn = self._beside(self._pool, device.follow, offer)
        turn.add_done_callback(lambda _ended: self._has_turned.set())
        turn.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody may wait for it any more
        while not turn.done():
            await asyncio.wait([turn], timeout=_SIGN_OF_LIFE_S)
            if not turn.done():
                with suppress(RemoteError):
                    await self._beside(self._waiting, device.give_sign_of_life)
        turn.result()

    @staticmethod
    def _beside(pool: ThreadPoolExecutor, do: Callable[..., R], *arguments: object) -> asyncio.Future[R]:
        return asyncio.get_running_loop().run_in_executor(pool, do, *arguments)

    def _note(self, trouble: str) -> None:
        """Say what is wrong, now and then, and not for each device."""
        now = time.monotonic()
        if now >= self._said.get(trouble, now):
            self._said[trouble] = now + _SAY_AGAIN_S
            self._on_news(f"{trouble} It is tried again.")


def _may_pass(error: RemoteError) -> bool:
    return isinstance(error, Unreachable) or error.retry_after_s is not None
