"""Forms are sent without loading the page anew: what others do and what one types do not get in each other's way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.e2e.browser import PHONE, too_wide, violations, visit
from tests.e2e.lonely_device import lonely_device
from tests.e2e.test_pages import Served, logged_in
from tests.e2e.trained_device import draw, trained_device

FLOOR = "Fewest devices in a sum"
PAUSED = "Paused: nothing is sent."


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Served]:
    with lonely_device(tmp_path) as server:
        yield server


def test_what_one_types_survives_what_another_does(browser: Browser, device: Served) -> None:
    with logged_in(browser, device) as mine, logged_in(browser, device) as theirs:
        page, wrong = visit(mine)
        other, _wrong = visit(theirs)
        for tab in (page, other):
            tab.goto(f"{device.url}/privacy")
        page.evaluate("window.same = true")
        page.locator("main").evaluate("main => main.insertAdjacentHTML('beforeend', '<p id=old>out of date</p>')")
        field = page.get_by_label(FLOOR)
        field.fill("19")
        field.press("ArrowLeft")
        other.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("heading", name=PAUSED)).to_be_visible()
        expect(page.locator("#old")).to_have_count(0)
        expect(field).to_be_focused()
        page.keyboard.type("5")
        expect(field).to_have_value("159")
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#k-min-help'))")
        selected = page.evaluate("String(getSelection())")
        other.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("heading", name=PAUSED)).to_have_count(0)
        assert page.evaluate("String(getSelection())") == selected
        expect(field).to_have_value("159")
        assert page.evaluate("window.same"), "the page was loaded anew"
        assert not wrong


def test_a_button_that_was_pressed_says_so_and_is_pressed_once(browser: Browser, device: Served) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    with logged_in(browser, device, PHONE) as context:
        context.route("**/privacy/pause", hold)
        page, wrong = visit(context)
        page.goto(f"{device.url}/privacy")
        button = page.get_by_role("button", name="Pause")
        button.press("Enter")
        expect(button).to_be_disabled()
        expect(button).to_be_focused()
        assert "working" in button.evaluate("button => getComputedStyle(button, '::after').content")
        assert not violations(page, "color-contrast")
        assert too_wide(page) <= 0
        with page.expect_response(f"{device.url}/privacy"):  # it is kept fresh meanwhile
            pass
        page.keyboard.press("Enter")
        expect(button).to_be_disabled()
        expect(button).to_be_focused()
        assert len(held) == 1
        held[0].continue_()
        expect(page.get_by_role("heading", name=PAUSED)).to_be_visible()
        expect(page.get_by_role("button", name="Go on")).to_be_enabled()
        assert len(held) == 1
        assert not wrong


def test_an_answer_is_not_covered_by_the_page_that_was_asked_for_meanwhile(browser: Browser, tmp_path: Path) -> None:
    sent: list[Route] = []
    (picture,) = draw(tmp_path, "star", 1)

    def hold(route: Route) -> None:
        sent.append(route)

    with trained_device(tmp_path / "device") as (server, _role), logged_in(browser, server) as context:
        page, wrong = visit(context)
        page.goto(f"{server.url}/learning")
        page.route("**/learning/try", hold)
        page.set_input_files("#try-picture", picture)
        page.get_by_role("button", name="What is it?").click()
        page.route("**/learning", lambda _route: None)  # on its way, and never there
        with page.expect_request("**/learning"):
            page.evaluate("htmx.trigger(document.body, 'changed')")
        with page.expect_event("requestfailed", lambda request: request.url.endswith("/learning")):
            sent[0].continue_()
        expect(page.get_by_role("heading", name="What the model sees in star-0.png")).to_be_visible()
        assert not wrong


def test_a_server_that_is_away_is_told_of_once(browser: Browser, device: Served) -> None:
    with logged_in(browser, device, PHONE) as context:
        page, _wrong = visit(context)
        page.goto(f"{device.url}/privacy")
        page.wait_for_load_state()
        context.route("**/privacy**", lambda route: route.abort())
        context.route("**/healthz", lambda route: route.abort())
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("alert")).to_contain_text("No answer from this device.")
        page.evaluate("htmx.trigger(document.body, 'changed')")
        expect(page.locator("#connection")).to_contain_text("Not connected.")
        expect(page.locator("#connection")).to_be_hidden()
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#connection")).to_be_visible()


def test_a_server_that_does_not_answer_is_told_of(browser: Browser, device: Served) -> None:
    with logged_in(browser, device, PHONE) as context:
        context.route("**/privacy/pause", lambda route: route.abort())
        page, _wrong = visit(context)
        page.goto(f"{device.url}/privacy")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("alert")).to_contain_text("No answer from this device.")
        page.locator("main").evaluate("main => main.insertAdjacentHTML('beforeend', '<p id=old>out of date</p>')")
        page.evaluate("htmx.trigger(document.body, 'changed')")
        expect(page.locator("#old")).to_have_count(0)
        expect(page.get_by_role("alert")).to_contain_text("No answer from this device.")
        expect(page.get_by_role("button", name="Pause")).to_be_enabled()
        context.unroute("**/privacy/pause")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("heading", name=PAUSED)).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()
