"""The aggregator's pages: what it holds, its two steps, and plain words on what it can and cannot see."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fanlight.services.aggregator.glimpse import WORDS, glimpse
from fanlight.storage.blobs import BlobFolder
from tests.unit.consoles.federation import (
    AGGREGATOR_URL,
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


def test_what_is_drawn_is_a_report_that_lies_here(tmp_path: Path) -> None:
    files = BlobFolder(tmp_path)
    assert not glimpse(files).real
    files.write_stream("00.sum", [bytes(4 * WORDS)], None, 1 << 20)
    files.write_stream("01.y", [b"short"], None, 1 << 20)
    assert not glimpse(files).real, "neither the sum nor half a report"
    files.write_stream("02.y", [b"\x00\x00\x00\x80" * WORDS + b"more"], None, 1 << 20)
    assert glimpse(files).real
    assert glimpse(files).heights == (0.5,) * WORDS


def test_a_new_server_has_neither_rounds_nor_log_entries(browser: TestClient) -> None:
    assert "No round yet." in Page.of(browser.get("/rounds")).text
    assert "Nothing has been logged yet." in Page.of(browser.get("/log")).text
    assert "There is no such page." not in Page.of(browser.get("/rounds?page=3")).text
