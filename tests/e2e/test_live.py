"""Open pages keep themselves fresh by events, draw their charts, and leave alone what somebody is using."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from fanlight import apps
from fanlight.consoles import main_server as main_server_pages
from fanlight.protocol.contribution import Measured, Totals
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.federation import init_federation
from fanlight.services.main_server import measurements
from fanlight.services.main_server.app import MainServerParts, create_app
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import Task
from tests.e2e.browser import DESK, PHONE, WINDOWS, on_every_screen, too_wide, violations, visit
from tests.e2e.lonely_device import ADDRESSES, lonely_device
from tests.e2e.test_pages import Served, logged_in, served
from tests.unit.main_server.past import add_round


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "federation"
    init_federation(folder, **ADDRESSES, task_json=Task.default(classes=("cat", "dog"), demo=True).to_json())
    return folder


def measure(parts: MainServerParts, right: int) -> None:
    """As if a round had measured the first version."""
    with parts.service.database.transaction() as tx:
        counts = Measured(np.array([[right, 100 - right], [100 - right, right]]), 60.0)
        model = parts.service.models.current(tx).sha256
        measurements.store(tx, 1, model, Totals(count=2, received=counts, local=counts))
    parts.service.news.tell()


def test_a_page_shows_a_change_without_being_loaded_again(browser: Browser, tmp_path: Path) -> None:
    with main_server(tmp_path) as (server, parts), logged_in(browser, server) as context:
        page, wrong = visit(context)
        with page.expect_response("**/events"):
            page.goto(server.url)
        page.evaluate("document.querySelector('.top').dataset.kept = 'yes'")
        expect(page.locator("#model")).to_contain_text("Not measured yet")
        measure(parts, 90)
        expect(page.locator("#model")).to_contain_text("90.0 % of 200 held-out pictures")
        assert page.locator(".top[data-kept]").count() == 1, "the page was loaded anew"
        assert not wrong


@contextmanager
def main_server(tmp_path: Path) -> Iterator[tuple[Served, MainServerParts]]:
    app, parts = create_app(MainServerSettings(state=folder_of(tmp_path) / "main"))
    main_server_pages.install(app, parts)
    with socket.create_server(("127.0.0.1", 0)) as listener, served("main", app, listener) as server:
        yield server, parts


def test_without_events_a_page_asks_by_the_clock(browser: Browser, tmp_path: Path) -> None:
    with main_server(tmp_path) as (server, parts), logged_in(browser, server) as context:
        context.route("**/events", lambda route: route.abort())
        page, _wrong = visit(context)
        page.goto(server.url)
        measure(parts, 90)
        expect(page.locator("#model")).to_contain_text("90.0 % of 200 held-out pictures")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_link_of_a_page_that_is_kept_fresh_is_simply_followed(browser: Browser, tmp_path: Path) -> None:
    """On a phone all pages' names are in sight; no other request goes before the page that is asked for."""
    with main_server(tmp_path) as (server, _parts), browser.new_context(viewport=PHONE) as context:
        page, wrong = visit(context)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.login_link())
        for name in ("Overview", "Aggregate", "Publish", "Measure", "Rounds", "Models", "Devices", "Task", "Log"):
            expect(page.get_by_role("link", name=name, exact=True).first).to_be_in_viewport(ratio=1)
        page.get_by_role("link", name="Rounds", exact=True).click()
        expect(page).to_have_url(f"{server.url}/rounds")
        assert f"{server.url}/healthz" not in asked
        assert not wrong


def test_pages_and_links_wait_for_a_server_that_is_away(browser: Browser, tmp_path: Path) -> None:
    with browser.new_context(viewport=PHONE) as context:
        with main_server(tmp_path) as (server, _parts):
            start, _wrong = visit(context)
            with start.expect_response("**/events"):
                start.goto(server.login_link())
            task, _wrong = visit(context)
            task.goto(f"{server.url}/task")
        expect(start.locator("#connection")).to_contain_text("Not connected. The main server does not answer")
        assert violations(start) == []
        start.get_by_role("link", name="Models", exact=True).click()
        expect(start.locator("#connection")).to_contain_text("The page that you asked for opens then.")
        task.get_by_role("link", name="Rounds", exact=True).click()
        expect(task.locator("#connection")).to_contain_text("The page that you asked for opens then.")
        expect(task).to_have_url(f"{server.url}/task")
        app = apps.main_server(MainServerSettings(state=tmp_path / "federation" / "main"))
        port = int(server.url.rpartition(":")[2])
        # Asked for now, since the page may have left by itself by the time a call would reach it.
        start.evaluate("void setInterval(() => window.dispatchEvent(new Event('online')), 1000)")
        with socket.create_server(("127.0.0.1", port)) as listener, served("main", app, listener):
            expect(task).to_have_url(f"{server.url}/rounds")
            expect(start).to_have_url(f"{server.url}/models")
            expect(start.locator("#connection")).to_be_empty()


ENDLESS = """const limited = AbortSignal.timeout;
AbortSignal.timeout = (ms) => ms < 5_000 ? limited.call(AbortSignal, ms) : new AbortController().signal;"""
"""A page waits without end for an answer that it may wait long for: only what it waits shortly for ends by itself."""


def test_a_link_does_not_wait_for_a_server_that_is_slow(browser: Browser, tmp_path: Path) -> None:
    """One that is known to be away is waited for; one that says nothing may be there."""
    with main_server(tmp_path) as (server, _parts), logged_in(browser, server) as context:
        context.route("**/healthz", lambda _route: None)  # is never answered
        page, _wrong = visit(context)
        page.add_init_script(ENDLESS)
        page.goto(f"{server.url}/task")
        page.get_by_role("link", name="Rounds", exact=True).click()
        page.wait_for_url(f"{server.url}/rounds")


def test_times_are_local_and_relative_and_utc_without_scripts(browser: Browser, tmp_path: Path) -> None:
    with main_server(tmp_path) as (server, parts):
        add_round(parts, 1)  # opened on 15 January 2027 at 08:00:01 UTC, ended ten seconds later
        with browser.new_context(timezone_id="Asia/Tokyo") as context:
            page, wrong = visit(context)
            page.clock.set_fixed_time("2027-01-15T08:03:12Z")
            page.goto(server.login_link())
            page.goto(f"{server.url}/rounds/1")
            opened, ended = page.locator("time[data-precise]").all()[:2]
            expect(opened).to_have_text("17:00:01 (3 min ago)")
            expect(ended).to_have_text("17:00:11 (3 min ago)")
            expect(ended).to_have_attribute("title", "2027-01-15 08:00:11 UTC")
            expect(page.locator("time[data-clock]").first).to_have_text("17:00:01")
            page.clock.set_fixed_time("2027-01-16T00:30:00Z")
            with page.expect_response(f"{server.url}/rounds/1"):
                page.evaluate("htmx.trigger(document.body, 'changed')")
            expect(ended).to_have_text("15 Jan 2027, 17:00:11 (16 h ago)")
            assert not wrong
        with browser.new_context(timezone_id="Asia/Tokyo", java_script_enabled=False) as context:
            page, _wrong = visit(context)
            page.goto(server.login_link())
            page.goto(f"{server.url}/rounds/1")
            expect(page.locator("time[data-precise]").first).to_have_text("2027-01-15 08:00:01 UTC")


def test_a_hidden_page_lets_the_stream_go(browser: Browser, tmp_path: Path) -> None:
    """Browsers allow six connections to a host over HTTP/1.1, for all tabs together."""
    show = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    show += "document.dispatchEvent(new Event('visibilitychange')); }"
    with main_server(tmp_path) as (server, parts), logged_in(browser, server) as context:
        page, wrong = visit(context)
        with page.expect_response("**/events"):
            page.goto(server.url)
        with page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
            page.evaluate(show, True)
        measure(parts, 90)
        with page.expect_response("**/events"):
            page.evaluate(show, False)
        expect(page.locator("#model")).to_contain_text("90.0 % of 200 held-out pictures")
        assert not wrong


def test_a_page_whose_login_has_ended_leads_to_the_login(browser: Browser, tmp_path: Path) -> None:
    with main_server(tmp_path) as (server, _parts), logged_in(browser, server) as context:
        page, _wrong = visit(context)
        other, _wrong = visit(context)
        page.goto(f"{server.url}/aggregate_models")
        other.goto(server.url)
        other.get_by_role("button", name="Log out").click()
        expect(other).to_have_url(f"{server.url}/login")
        expect(page).to_have_url(f"{server.url}/login?next=/aggregate_models")


def test_a_chart_is_drawn_anew_only_if_its_figures_changed(browser: Browser, tmp_path: Path) -> None:
    kept = "document.querySelector('figure.chart canvas').kept === true"
    with main_server(tmp_path) as (server, parts), logged_in(browser, server) as context:
        learn(parts, epochs=8)
        page, wrong = visit(context)
        page.goto(f"{server.url}/aggregate_models")
        expect(page.locator("figure.chart canvas")).to_be_visible()
        page.evaluate(kept.replace("===", "="))
        page.locator(".why").first.evaluate("node => { node.textContent = 'out of date'; }")
        parts.service.news.tell()
        expect(page.get_by_text("out of date")).to_have_count(0)
        assert page.evaluate(kept)
        learn(parts, epochs=3)
        page.wait_for_function(f"() => !({kept})")
        expect(page.locator("figure.chart canvas")).to_be_visible()
        expect(page.locator("figure.chart")).to_have_count(1)
        assert not wrong


@on_every_screen
def test_the_drawing_of_who_sees_what_fits(browser: Browser, tmp_path: Path, window: str, dark: bool) -> None:
    app = apps.aggregator(AggregatorSettings(state=folder_of(tmp_path) / "aggregator"))
    with socket.create_server(("127.0.0.1", 0)) as listener, served("aggregator", app, listener) as server:
        shown(browser, server, "/", window, dark)
        shown(browser, server, "/libraries", window, dark)


def shown(browser: Browser, server: Served, path: str, window: str, dark: bool) -> None:
    with logged_in(browser, server, WINDOWS[window], dark=dark) as context:
        page, wrong = visit(context)
        page.goto(server.url + path)
        assert too_wide(page) <= 0
        assert violations(page) == []
        assert not wrong


def learn(parts: MainServerParts, epochs: int) -> None:
    """As if a job had reported these passes."""

    def work(progress: object) -> None:
        assert callable(progress)
        for epoch in range(1, epochs + 1):
            figures = {"train_loss": 1 / epoch, "valid_loss": 1.2 / epoch, "train_accuracy": 1 - 0.5 / epoch}
            progress(epoch / epochs, "learning", {"epoch": epoch, "valid_accuracy": 1 - 0.6 / epoch, **figures})

    jobs = parts.service.jobs
    jobs.wait(jobs.start("/aggregate_models", work).id)
    parts.service.news.tell()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_chart_is_drawn_under_the_strict_policy(browser: Browser, tmp_path: Path, dark: bool) -> None:
    """On the page of a step, with the figures of a job that has ended."""
    with main_server(tmp_path) as (server, parts):
        learn(parts, epochs=8)
        for window in (PHONE, DESK):
            with logged_in(browser, server, window, dark=dark) as context:
                page, wrong = visit(context)
                page.goto(f"{server.url}/aggregate_models")
                figure = page.locator("figure.chart")
                expect(figure.locator("canvas")).to_be_visible()
                expect(figure).to_contain_text("Accuracy, held out")
                assert too_wide(page) <= 0
                assert not wrong
        with logged_in(browser, server, scripts=False) as context:
            page, _wrong = visit(context)
            page.goto(f"{server.url}/aggregate_models")
            expect(page.locator("figure.chart")).to_be_hidden()


@pytest.mark.parametrize("touch", [True, False], ids=["finger", "mouse"])
def test_every_line_of_a_chart_has_its_name(browser: Browser, tmp_path: Path, touch: bool) -> None:
    """Figures follow a mouse; where there is none, all lines are named all the same."""
    with main_server(tmp_path) as (server, parts):
        learn(parts, epochs=8)
        with logged_in(browser, server, PHONE, touch=touch) as context:
            page, wrong = visit(context)
            page.goto(f"{server.url}/aggregate_models")
            names = ["Accuracy, training", "Accuracy, held out", "Loss, training", "Loss, held out"]
            for name in names:
                expect(page.locator("figure.chart .u-label").get_by_text(name, exact=True)).to_be_visible()
            expect(page.locator("figure.chart .u-label").filter(visible=True)).to_have_text(names)
            assert not wrong


@pytest.mark.parametrize("scripts", [True, False], ids=["with-js", "without-js"])
def test_an_owner_changes_a_floor_and_pauses(browser: Browser, tmp_path: Path, scripts: bool) -> None:
    with lonely_device(tmp_path) as server:
        for window, dark in ((PHONE, True), (DESK, False)):
            with logged_in(browser, server, window, scripts=scripts, dark=dark) as context:
                page, wrong = visit(context)
                page.goto(f"{server.url}/privacy")
                page.get_by_label("Fewest devices in a sum").fill("8")
                page.get_by_role("button", name="Keep these floors").click()
                expect(page.get_by_label("Fewest devices in a sum")).to_have_value("8")
                page.get_by_role("button", name="Pause").click()
                expect(page.get_by_role("heading", name="Paused: nothing is sent.")).to_be_visible()
                if scripts:
                    assert too_wide(page) <= 0
                    assert violations(page) == []
                page.get_by_role("button", name="Go on").click()
                expect(page).to_have_url(f"{server.url}/")  # which says what to do now
                expect(page.get_by_role("heading", name="Paused.")).to_have_count(0)
                page.goto(f"{server.url}/privacy")
                expect(page.get_by_role("button", name="Pause")).to_be_visible()
                assert not wrong
