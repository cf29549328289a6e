"""The "Measure" order: what gives way to it, and its job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from fanlight.errors import NotPossibleNow
from fanlight.protocol.exchange import Order
from fanlight.services.main_server import notes, round_table
from fanlight.services.main_server.app import MainServerParts
from fanlight.storage.tables import main as tables
from tests.unit.main_server.past import RECEIVED, add_member, add_round, measure, server


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    add_round(made, 1)
    for number in (1, 2):
        add_member(made, number)
    made.service.see_aggregator()
    yield made
    made.service.close()


def announce(parts: MainServerParts) -> None:
    """A member has trained on the current model."""
    service, columns = parts.service, tables.devices.c
    with service.database.transaction() as tx:
        ready = {"ready_plan": service.task.plan.hash, "ready_model": service.models.current(tx).sha256}
        tx.execute(update(tables.devices).where(columns.dev == bytes([1]) * 16).values(**ready))


def asked(parts: MainServerParts) -> tuple[Order, str]:
    """What the aggregator is asked to do with the newest round, and what for."""
    with parts.service.database.transaction() as tx:
        line = round_table.latest_line(tx)
    assert line is not None
    return line.asked, line.reason


def test_a_round_that_a_device_has_announced_for_is_not_lost(parts: MainServerParts) -> None:
    announce(parts)
    add_round(parts, 2, state="open")
    with pytest.raises(NotPossibleNow, match="1 device has trained and announced for round 2"):
        parts.conductor.measure_next()
    assert asked(parts)[0] is Order.NONE


def test_a_round_that_nobody_has_announced_for_gives_way(parts: MainServerParts) -> None:
    announce(parts)
    parts.service.make_current(0)  # the announcement was for version 1
    add_round(parts, 2, state="open")
    parts.conductor.measure_next()
    assert asked(parts) == (Order.ABANDON, "made-room-for-measuring")


@pytest.mark.parametrize(("counted", "state"), [(True, "done"), (False, "failed")])
def test_measuring_is_a_job_that_ends_with_its_round(parts: MainServerParts, *, counted: bool, state: str) -> None:
    job = parts.steps.measure()
    with pytest.raises(NotPossibleNow, match="already running"):
        parts.steps.measure()
    add_round(parts, 2, kind="measure", state="open")
    assert parts.service.jobs.get(job.id).active
    if counted:
        measure(parts, 2, RECEIVED)
    with parts.service.database.transaction() as tx:
        ended = update(tables.rounds).where(tables.rounds.c.number == 2)
        tx.execute(ended.values(state="complete" if counted else "failed"))
    parts.service.news.tell()
    assert parts.service.jobs.wait(job.id, 30).state == state


def test_the_answer_says_where_to_look(tmp_path: Path) -> None:
    app, made = server(tmp_path / "other", demo=True)
    for number in (1, 2):
        add_member(made, number)
    made.service.see_aggregator()
    http = TestClient(app, base_url="http://localhost:8000")
    http.headers["Authorization"] = f"Bearer {(tmp_path / 'other' / 'main' / 'api-token').read_text().strip()}"
    first, second = (http.post("/api/v1/measure") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 409)
    assert http.get(first.json()["status_url"]).json()["id"] == first.json()["job"]
    made.service.close()


def test_why_it_cannot_be_measured_is_known_beforehand(tmp_path: Path) -> None:
    _app, made = server(tmp_path / "new", demo=True)

    def why() -> str:
        step = next(step for step in made.overview.steps() if step.route == "/measure")
        with made.service.database.transaction() as tx:
            reason = made.conductor.why_not_measure(tx)
        assert step.possible is (reason is None)
        return step.reason

    assert "0 of the 2 devices" in why()
    for number in (1, 2):
        add_member(made, number)
    assert "not connected" in why()
    made.service.see_aggregator()
    assert "has not been measured yet" in why()
    add_round(made, 1)
    measure(made, 1, RECEIVED)
    made.service.make_current(0)
    assert "has been measured" in why()
    made.service.close()


def test_a_measurement_that_no_round_opens_for_ends_and_says_so(
    parts: MainServerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, now = parts.steps.measure(), parts.service.monotonic()
    monkeypatch.setattr(parts.service, "monotonic", lambda: now + 1_000)
    parts.service.news.tell()
    ended = parts.service.jobs.wait(job.id, 30)
    assert ended.state == "failed"
    assert ended.problem is not None
    assert ended.problem.slug == "no-measuring-round"
    with parts.service.database.transaction() as tx:
        assert notes.read(tx, notes.MEASURE_NEXT, 7) == 0
