"""When the policy has something to do, and where it does it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from fanlight.protocol.exchange import Order
from fanlight.services.http.backoff import Backoff
from fanlight.services.main_server import app, round_table
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.conductor import Conductor
from tests.unit.main_server.past import add_round, server


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    yield made
    made.service.close()


@pytest.mark.parametrize(
    ("state", "kind", "by_itself", "stands"),
    [
        ("proposed", "train", True, True),  # for the aggregator
        ("open", "train", True, False),  # for reports, and the clock
        ("open", "train", False, False),  # for the operator, or that rounds are to run by themselves
        ("judged", "train", True, True),
        ("released", "train", True, False),
        ("released", "train", False, True),  # for the operator
        ("released", "measure", False, False),
        ("complete", "train", True, False),
        ("abandoned", "train", False, False),
    ],
)
def test_it_stands_while_others_have_to_act(
    parts: MainServerParts, state: str, kind: str, by_itself: bool, stands: bool
) -> None:
    assert not parts.conductor.stands(), "before the first round"
    parts.service.change_policy(by_itself=by_itself)
    add_round(parts, 1, state=state, kind=kind)
    assert parts.conductor.stands() is stands
    if stands:
        assert not parts.conductor.advance()
        assert parts.conductor.due_in_s() == float("inf")


def test_it_stands_once_the_aggregator_is_asked_to_end_a_round(parts: MainServerParts) -> None:
    add_round(parts, 1, state="open")
    assert not parts.conductor.stands()
    with parts.service.database.transaction() as tx:
        round_table.ask(tx, 1, Order.FINISH, "")
    assert parts.conductor.stands()


def test_another_line_of_models_is_begun_under_a_round_that_nobody_answers(parts: MainServerParts) -> None:
    parts.service.change_policy(by_itself=False)
    add_round(parts, 1, state="open")
    assert not parts.conductor.advance()
    parts.service.change_line("prototypes", parts.service.task.backbone)
    assert not parts.conductor.stands()
    assert parts.conductor.advance()
    latest = parts.service.latest()
    assert latest is not None
    assert latest.asked is Order.ABANDON


class _Policy:
    """Stands for a while, then has one thing to do; notes in which thread it is asked."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.looked: asyncio.Queue[None] = asyncio.Queue()
        self.stood: list[int] = []
        self.advanced: list[int] = []
        self.done = threading.Event()

    def stands(self) -> bool:
        self.stood.append(threading.get_ident())
        self.looked.put_nowait(None)
        if len(self.stood) > 100:
            pytest.fail("it goes round and round")  # on the event loop, where no timeout would end it
        return len(self.stood) <= self.looks

    def advance(self) -> bool:
        self.advanced.append(threading.get_ident())
        self.done.set()
        return len(self.advanced) == 1

    def due_in_s(self) -> float:
        return 60.0


def test_only_what_has_something_to_do_takes_a_thread(parts: MainServerParts) -> None:
    policy: Any = _Policy(looks=2)

    async def conduct() -> None:
        conducting = asyncio.create_task(
            app._conduct(parts.service, cast("Conductor", policy), Backoff(lambda: 0.5, first_s=0.1, longest_s=1.0))
        )
        for _ in range(policy.looks):
            await asyncio.wait_for(policy.looked.get(), 60)
            assert policy.advanced == []
            parts.service.news.policy.notify()
        await asyncio.to_thread(policy.done.wait, 60)
        conducting.cancel()
        await asyncio.wait((conducting,))

    asyncio.run(conduct())
    assert set(policy.stood) == {threading.get_ident()}
    assert policy.advanced
    assert threading.get_ident() not in policy.advanced


def test_it_ends_with_the_process_also_while_it_stands(parts: MainServerParts) -> None:
    policy: Any = _Policy(looks=1000)

    async def conduct() -> None:
        conducting = asyncio.create_task(
            app._conduct(parts.service, cast("Conductor", policy), Backoff(lambda: 0.5, first_s=0.1, longest_s=1.0))
        )
        await asyncio.wait_for(policy.looked.get(), 60)
        parts.service.news.close()
        await asyncio.wait_for(conducting, 60)

    asyncio.run(conduct())
    assert policy.advanced == []
