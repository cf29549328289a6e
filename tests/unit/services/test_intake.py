"""Who comes while a group is stored is in the next one; everybody gets their own answer, and no failure sticks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from fanlight.errors import Refused, StorageError
from fanlight.services.aggregator.intake import MOST_AT_ONCE, Intake


class Store:
    """Holds its first group back until it is told to go on."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.groups: list[list[int]] = []

    def __call__(self, group: Sequence[int]) -> list[bytes | Exception]:
        self.groups.append(list(group))
        self.began.set()
        assert self.go_on.wait(60)
        return [Refused(f"{number}") if number % 10 == 7 else b"%d" % number for number in group]


async def take_all(intake: Intake[int], store: Store, count: int) -> list[bytes | BaseException]:
    first = asyncio.create_task(intake.take(0))
    await asyncio.to_thread(store.began.wait, 60)
    others = [asyncio.create_task(intake.take(number)) for number in range(1, count)]
    await asyncio.sleep(0)
    store.go_on.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_those_who_come_meanwhile_are_the_next_group() -> None:
    store = Store()
    answers = asyncio.run(take_all(Intake(store), store, 5))
    assert store.groups == [[0], [1, 2, 3, 4]]
    assert answers == [b"0", b"1", b"2", b"3", b"4"]


def test_each_one_gets_its_own_answer() -> None:
    store = Store()
    answers = asyncio.run(take_all(Intake(store), store, 9))
    assert [answer if isinstance(answer, bytes) else type(answer) for answer in answers[6:]] == [b"6", Refused, b"8"]


def test_a_group_has_a_limit() -> None:
    store = Store()
    asyncio.run(take_all(Intake(store), store, MOST_AT_ONCE + 2))
    assert [len(group) for group in store.groups] == [1, MOST_AT_ONCE, 1]


def test_after_a_failure_the_next_one_is_stored() -> None:
    failing = [True]

    def store(group: Sequence[int]) -> list[bytes | Exception]:
        if failing.pop() if failing else False:
            raise StorageError("The disk is full.")
        return [b"kept"] * len(group)

    async def take_two() -> bytes:
        intake = Intake(store)
        with pytest.raises(StorageError):
            await intake.take(1)
        return await intake.take(2)

    assert asyncio.run(take_two()) == b"kept"


def test_who_has_gone_keeps_nobody_waiting() -> None:
    store = Store()

    async def leave() -> bytes:
        intake = Intake(store)
        first = asyncio.create_task(intake.take(0))
        await asyncio.to_thread(store.began.wait, 60)
        gone, there = asyncio.create_task(intake.take(1)), asyncio.create_task(intake.take(2))
        await asyncio.sleep(0)
        gone.cancel()
        store.go_on.set()
        await first
        return await there

    assert asyncio.run(leave()) == b"2"
    assert store.groups == [[0], [1, 2]]
