"""The "Measure" order: what gives way to it, and its job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from fanlight.errors import NotPossibleNow
from fanlight.protocol.exchange import Order
from fanlight.services.main_server.app import MainServerParts
from fanlight.storage.tables import main as tables
from tests.unit.main_server.past import RECEIVED, add_round, measure, server

DEVICE = b"\x07" * 16


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation")
    add_round(made, 1)
    yield made
    made.service.close()


def announce(parts: MainServerParts) -> None:
    """A member at both servers that has trained on the current model."""
    service = parts.service
    with service.database.transaction() as tx:
        ready = {"ready_plan": service.task.plan.hash, "ready_model": service.models.current(tx).sha256}
        tx.execute(
            insert(tables.devices).values(
                dev=DEVICE, public_key=b"\x01" * 32, token_key=b"\x02" * 32, name="porch", enrolment=b"", enrolled_at=1,
                **ready,
            )
        )  # fmt: skip
        tx.execute(insert(tables.enrolled_at_aggregator).values(dev=DEVICE, token_key=b"\x02" * 32))


@pytest.fixture
def asked(parts: MainServerParts, monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """What the aggregator is asked to do."""
    found: list[Order] = []
    monkeypatch.setattr(parts.service.rounds, "ask", lambda order, _tx: found.append(order))
    return found


def test_a_round_that_a_device_has_announced_for_is_not_lost(parts: MainServerParts, asked: list[Order]) -> None:
    announce(parts)
    add_round(parts, 2, state="open")
    with pytest.raises(NotPossibleNow, match="1 device has trained and announced for round 2"):
        parts.conductor.measure_next()
    assert asked == []


def test_a_round_that_nobody_has_announced_for_gives_way(parts: MainServerParts, asked: list[Order]) -> None:
    announce(parts)
    parts.service.make_current(0)  # the announcement was for version 1
    add_round(parts, 2, state="open")
    parts.conductor.measure_next()
    assert asked == [Order.ABANDON]


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
    parts.service.notify()
    assert parts.service.jobs.wait(job.id, 30).state == state


def test_the_answer_says_where_to_look(tmp_path: Path) -> None:
    app, made = server(tmp_path / "other")
    http = TestClient(app, base_url="http://localhost:8000")
    http.headers["Authorization"] = f"Bearer {(tmp_path / 'other' / 'main' / 'api-token').read_text().strip()}"
    first, second = (http.post("/api/v1/measure") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 409)
    assert http.get(first.json()["status_url"]).json()["id"] == first.json()["job"]
    made.service.close()
