"""Reports that arrive at once become durable together: what a file, its fsync and a transaction cost, they share.

While one group is stored, those that arrive meanwhile wait, and are the next group; who comes alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from fanlight.services.http.threads import in_thread

R = TypeVar("R")

MOST_AT_ONCE: Final = 256
"""Most reports in a group: whoever is first in one waits for all of it."""


class Intake(Generic[R]):
    """Stores reports in groups.

    Args:
        store: makes a group durable, in a thread; for each report the receipt, or why there is none.
    """

    def __init__(self, store: Callable[[Sequence[R]], Sequence[bytes | Exception]]) -> None:
        self._store = store
        self._waiting: list[tuple[R, asyncio.Future[bytes]]] = []
        self._storing: asyncio.Task[None] | None = None

    async def take(self, report: R) -> bytes:
        """Store a report together with the others that are waiting; returns the receipt.

        Raises:
            Exception: what ``store`` returned for this report, or raised for its group.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((report, answer))
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_all())
        return await answer

    async def _store_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await self._store_group(group)
        finally:
            self._storing = None

    async def _store_group(self, group: Sequence[tuple[R, asyncio.Future[bytes]]]) -> None:
        found: Sequence[bytes | Exception]
        try:
            found = await in_thread(self._store, [report for report, _ in group])
        except Exception as error:  # noqa: BLE001 each of those who wait gets it
            found = [error] * len(group)
        for (_, answer), receipt in zip(group, found, strict=True):
            if answer.done():  # its connection is gone; the report is stored all the same
                continue
            if isinstance(receipt, Exception):
                answer.set_exception(receipt)
            else:
                answer.set_result(receipt)
