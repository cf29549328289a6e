"""Steps by hand wait for news: what changes while they look is not missed, and whoever tells it waits for no step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.protocol.main_round import State
from fanlight.services.http.jobs import Job
from fanlight.services.main_server import round_table
from fanlight.services.main_server.app import MainServerParts
from tests.unit.main_server.past import RECEIVED, add_member, add_report, add_round, measure, server

PATIENCE_S = 30.0
"""Half of what an aggregator has for its answer, and a step waits that has missed it."""


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    add_round(made, 1)
    made.service.see_aggregator()
    for number in (1, 2):
        add_report(made, 2, add_member(made, number))
    yield made
    made.service.close()


def change_after_first_look(
    parts: MainServerParts, monkeypatch: pytest.MonkeyPatch, look: str, change: Callable[[], None]
) -> list[bool]:
    """Have another thread change something, and tell, when a step has just looked for the first time.

    Returns:
        had that thread ended when the step went on?
    """
    looked, was_free = getattr(parts.steps, look), list[bool]()

    def change_and_tell() -> None:
        change()
        parts.service.news.tell()

    def look_then_change(argument: Any) -> Any:
        found = looked(argument)
        if not was_free:
            teller = threading.Thread(target=change_and_tell, daemon=True)
            teller.start()
            teller.join(PATIENCE_S / 3)
            was_free.append(not teller.is_alive())
        return found

    monkeypatch.setattr(parts.steps, look, look_then_change)
    return was_free


def ended(parts: MainServerParts, job: Job) -> str:
    return parts.service.jobs.wait(job.id, PATIENCE_S).state


def test_a_release_while_it_looks_ends_the_wait_for_the_aggregator(
    parts: MainServerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_round(parts, 2, state="open")

    def release() -> None:
        with parts.service.database.transaction() as tx:
            stored = round_table.by_hash(tx, bytes([2]) * 32)
            round_table.save(tx, stored.record.with_(state=State.RELEASED.value), 0.0, None)

    was_free = change_after_first_look(parts, monkeypatch, "_state", release)
    assert ended(parts, parts.steps.aggregate()) == "done"
    assert was_free == [True]


def test_a_measuring_round_that_ends_while_it_looks_ends_the_wait(
    parts: MainServerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete() -> None:
        add_round(parts, 2, kind="measure")
        measure(parts, 2, RECEIVED)

    was_free = change_after_first_look(parts, monkeypatch, "_measuring_round", complete)
    assert ended(parts, parts.steps.measure()) == "done"
    assert was_free == [True]


@pytest.mark.parametrize("kind", ["aggregate", "measure"])
def test_a_step_that_waits_ends_with_the_process(parts: MainServerParts, kind: str) -> None:
    if kind == "aggregate":
        add_round(parts, 2, state="open")
    job = getattr(parts.steps, kind)()
    parts.service.news.close()
    assert ended(parts, job) == "failed"
    problem = parts.service.jobs.get(job.id).problem
    assert problem is not None
    assert problem.slug == "stopped"
