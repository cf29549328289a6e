"""Server-sent events: one for each burst of changes, for the owner only, until the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from fanlight.consoles.charts import epochs_chart, versions_chart
from fanlight.consoles.events import changes, events_router
from fanlight.services.http.jobs import Jobs, Progress
from fanlight.services.http.waiting import Notifier
from tests.unit.consoles.federation import (
    AGGREGATOR_URL,
    MAIN_URL,
    aggregator,
    device,
    main_server,
    make_folder,
    owner,
    stranger,
)

ROLES: dict[str, tuple[Callable[[Path], FastAPI], str]] = {
    "main": (main_server, MAIN_URL),
    "aggregator": (aggregator, AGGREGATOR_URL),
    "device": (device, "http://localhost:8001"),
}


async def yes() -> bool:
    return True


def stream(notifier: Notifier, last_id: str = "") -> AsyncIterator[str]:
    return changes(notifier, last_id, yes, keep_alive_s=0.05, pause_s=0)


async def take(found: AsyncIterator[str], count: int) -> list[str]:
    return [await anext(found) for _ in range(count)]


def test_a_burst_is_one_event_and_silence_a_comment() -> None:
    async def read() -> list[str]:
        notifier = Notifier()
        found = stream(notifier)
        first = await take(found, 1)
        notifier.notify()
        notifier.notify()
        return first + await take(found, 2)

    new, change, comment = asyncio.run(read())
    assert new == "event: changed\nid: 0\ndata: 0\n\n", "a page is drawn before it listens"
    assert change == "event: changed\nid: 2\ndata: 2\n\n"
    assert comment.startswith(":")


def test_what_was_missed_between_two_connections_is_told_at_once() -> None:
    async def read(last_id: str) -> str:
        notifier = Notifier()
        notifier.notify()
        return (await take(stream(notifier, last_id), 1))[0]

    assert "id: 1" in asyncio.run(read("0"))
    assert "id: 1" in asyncio.run(read("700")), "the number of an earlier process"
    assert asyncio.run(read("1")).startswith(":")


def test_it_ends_with_the_process_and_with_the_login() -> None:
    async def read(may: bool, closed: bool) -> list[str]:
        async def allowed() -> bool:
            return may

        notifier = Notifier()
        if closed:
            notifier.close()
        return [event async for event in changes(notifier, "", allowed, keep_alive_s=0.01, pause_s=0)]

    assert len(asyncio.run(read(may=True, closed=True))) == 1
    assert len(asyncio.run(read(may=False, closed=False))) == 1


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_them_for_its_owner(role: str, tmp_path: Path) -> None:
    make, url = ROLES[role]
    app = make(make_folder(tmp_path / "federation"))
    assert stranger(app, url).get("/events").status_code == 303


def test_over_http(tmp_path: Path) -> None:
    app = main_server(make_folder(tmp_path / "federation"))
    closed = Notifier()
    closed.close()
    app.router.routes.insert(0, events_router(closed).routes[0])
    response = owner(app).get("/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.text.startswith("event: changed\n")


def test_a_job_keeps_its_figures_for_the_chart() -> None:
    def work(progress: Progress) -> None:
        progress(0.1, "reading")
        for epoch in (1, 2):
            progress(0.5, "learning", {"epoch": epoch, "train_loss": 1 / epoch, "valid_loss": None})

    jobs = Jobs()
    try:
        job = jobs.wait(jobs.start("a", work).id)
    finally:
        jobs.close()
    assert [point["epoch"] for point in job.as_json()["progress"]["points"]] == [1, 2]
    chart = epochs_chart(job.points)
    assert chart is not None
    assert chart["x"] == [1, 2]
    assert [(line["label"], line["values"]) for line in chart["series"]] == [("Loss, training", [1.0, 0.5])]
    assert epochs_chart(()) is None


def test_versions_are_drawn_in_order_and_only_if_measured() -> None:
    models: list[dict[str, Any]] = [
        {"version": 3, "metrics": {"accuracy": 0.9, "loss": 0.2, "balanced_accuracy": None}},
        {"version": 2, "metrics": None},
        {"version": 1, "metrics": {"accuracy": 0.5, "loss": None, "balanced_accuracy": None}},
    ]
    chart = versions_chart(models)
    assert chart is not None
    assert chart["x"] == [1, 3]
    assert chart["series"] == [
        {"label": "Accuracy", "scale": "share", "values": [0.5, 0.9]},
        {"label": "Loss", "scale": "loss", "values": [None, 0.2]},
    ]
    assert versions_chart(models[1:]) is None
