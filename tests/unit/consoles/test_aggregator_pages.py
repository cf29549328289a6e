"""The aggregator's pages: what it holds, its two steps, and plain words on what it can and cannot see."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from fanlight.services.aggregator.glimpse import WORDS, glimpse
from fanlight.services.aggregator.records import Records
from fanlight.services.aggregator.rounds import Rounds
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.aggregator.step_jobs import Steps
from fanlight.storage.blobs import BlobFolder
from tests.unit.consoles.federation import (
    AGGREGATOR_URL,
    HOSTILE,
    OUR_SCRIPTS,
    SCRIPT,
    Page,
    aggregator,
    make_folder,
    owner,
)

STEPS = {
    "/aggregate_models": "Aggregate Local Models",
    "/send_model_secagg": "Send Aggregated Model to Main Server",
}


@pytest.fixture
def browser(tmp_path: Path) -> TestClient:
    return owner(aggregator(make_folder(tmp_path / "federation")), AGGREGATOR_URL)


def stored(state: str, *, demo: bool) -> Any:
    """A round with what pages read of it."""
    proposal = SimpleNamespace(kind="train", k_min=2, demo=demo)
    record = SimpleNamespace(
        number=4, state=state, at=state, mh=b"\x01" * 32, terms=SimpleNamespace(proposal=proposal, length=13_024)
    )
    return SimpleNamespace(record=record, told_main=True, opened_at=1.8e9, ended_at=None)


def show(monkeypatch: pytest.MonkeyPatch, state: str, *, demo: bool = True) -> None:
    line = stored(state, demo=demo)
    monkeypatch.setattr(Rounds, "latest", lambda _self: line)
    monkeypatch.setattr(Rounds, "count", lambda _self, _mh: 1)
    monkeypatch.setattr(Steps, "views", lambda _self: [])


def test_before_the_first_round(browser: TestClient) -> None:
    text = Page.of(browser.get("/")).text
    assert "Waiting for the first round." in text
    assert "One opens by itself when enough devices are enrolled" in text


@pytest.mark.parametrize(("route", "label"), STEPS.items())
def test_each_step_has_its_button_on_its_page_and_the_start_page(browser: TestClient, route: str, label: str) -> None:
    for path in ("/", route):
        response = browser.get(path)
        assert f">{label}</button>" in response.text
        assert (route, {"csrf"}) in Page.of(response).forms()


def test_it_says_what_it_can_and_cannot_see(browser: TestClient) -> None:
    text = Page.of(browser.get("/")).text
    for words in ("This server sees", "It cannot see", "What this does not protect", "Both servers in one hand"):
        assert words in text


@pytest.mark.parametrize("state", ["offered", "collecting", "closed", "agreed", "released", "finished", "abandoned"])
def test_a_round_is_shown_in_each_state(browser: TestClient, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    show(monkeypatch, state)
    text = Page.of(browser.get("/")).text
    assert "Round 4" in text
    assert "13,024 numbers" in text
    assert "52.1 kB" in text


def test_the_drawing_shows_the_numbers_of_this_federation(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, "collecting")
    text = " ".join(Page.of(browser.get("/")).text.split())
    for words in ("52.1 kB each, masked twice", "one sum of 52.1 kB", "1 report in round 4", "at least 2 devices"):
        assert words in text
    assert "An example; when a report is here" in text


def test_what_is_drawn_is_a_report_that_lies_here(tmp_path: Path) -> None:
    files = BlobFolder(tmp_path)
    assert not glimpse(files).real
    files.write_stream("00.sum", [bytes(4 * WORDS)], None, 1 << 20)
    files.write_stream("01.y", [b"short"], None, 1 << 20)
    assert not glimpse(files).real, "neither the sum nor half a report"
    files.write_stream("02.y", [b"\x00\x00\x00\x80" * WORDS + b"more"], None, 1 << 20)
    assert glimpse(files).real
    assert glimpse(files).heights == (0.5,) * WORDS


@pytest.mark.parametrize("demo", [True, False])
def test_the_banner_follows_the_round(browser: TestClient, monkeypatch: pytest.MonkeyPatch, demo: bool) -> None:
    show(monkeypatch, "collecting", demo=demo)
    assert ("two devices: each can work out the other's update" in Page.of(browser.get("/")).text) is demo


def test_trouble_with_main_is_shown_as_text(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = {"role": "aggregator", "federation": "ab", "members": 0, "round": None, "reports": 0}
    monkeypatch.setattr(AggregatorService, "status", lambda _self: trouble | {"main_problem": SCRIPT})
    page = Page.of(browser.get("/"))
    assert SCRIPT in page.text
    assert page.scripts() == OUR_SCRIPTS


def held(number: int, **changes: Any) -> dict[str, Any]:
    """A round as the records tell of it."""
    return {
        "round": number, "kind": "train", "state": "finished", "reports": 2, "words": 13_024, "k_min": 2,
        "report_bytes": 52_096,
        "held_bytes": 0,
        "accepted": 2, "result": "released", "reason": "ok", "opened_at": 1.8e9, "ended_at": 1.8e9 + 9, "refused": [],
        "left_out": [],
    } | changes  # fmt: skip


def test_a_new_server_has_neither_rounds_nor_log_entries(browser: TestClient) -> None:
    assert "No round yet." in Page.of(browser.get("/rounds")).text
    assert "Nothing has been logged yet." in Page.of(browser.get("/log")).text
    assert "There is no such page." not in Page.of(browser.get("/rounds?page=3")).text


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12].encode("unicode_escape").decode())
def test_rounds_say_whose_report_was_not_taken_and_why(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    who = {"device": "12" * 16, "name": name}
    refused = who | {"reason": "swapped-vector", "times": 2, "last_at": 1.8e9}
    rounds = [
        held(2, state="collecting", held_bytes=104_192, accepted=None, reason="", ended_at=None),
        held(1, state="abandoned", reason="ordered-by-main", accepted=1, refused=[refused])
        | {"left_out": [who | {"reason": "seed-unopenable"}]},
    ]
    found = {"rounds": rounds, "total": 2, "page": 1, "pages": 1}
    monkeypatch.setattr(Records, "rounds", lambda _self, page=1, size=50: found)
    page = Page.of(browser.get("/rounds"))
    text = " ".join(page.text.split())
    assert page.text.count(name) == 2
    assert page.scripts() == OUR_SCRIPTS
    for words in (
        "104.2 kB",
        "the main server gave it up",
        "refused: the numbers were not those that the device had signed, 2 times",
        "left out by the main server: a sealed seed could not be opened",
    ):
        assert words in text
    assert "2 reports, 104.2 kB" in " ".join(Page.of(browser.get("/")).text.split())
