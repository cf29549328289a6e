"""The pages in a real browser, served by a real main server and a real aggregator that talk to each other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, ViewportSize, expect

from fanlight import apps
from fanlight.consoles import main_server as main_server_pages
from fanlight.protocol.contribution import Measured, Totals
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.federation import init_federation
from fanlight.services.main_server import measurements
from fanlight.services.main_server.app import create_app
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import Task
from tests.e2e.browser import DESK, PHONE, WINDOWS, on_every_screen, too_wide, violations, visit

CLASSES = ("cat", "dog", "<b>not bold", "ن" * 64, "W" * 64)
PATHS = {
    "main": ("/", "/aggregate_models", "/send_model_clients", "/measure"),
    "aggregator": ("/", "/aggregate_models", "/send_model_secagg", "/rounds", "/log"),
}


@dataclass(frozen=True)
class Served:
    """A role on its port."""

    role: str
    url: str
    app: FastAPI

    def login_link(self) -> str:
        return self.url + str(self.app.state.owner_sessions.new_link())


@contextmanager
def served(role: str, app: FastAPI, listener: socket.socket) -> Iterator[Served]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        yield Served(role, f"http://localhost:{listener.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    folder = tmp_path_factory.mktemp("pages") / "federation"
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        main_port, aggregator_port = (listener.getsockname()[1] for listener in listeners)
        init_federation(
            folder,
            main_url=f"http://localhost:{main_port}",
            aggregator_url=f"http://localhost:{aggregator_port}",
            task_json=Task.default(classes=CLASSES, demo=True).to_json(),
        )
        main = apps.main_server(MainServerSettings(state=folder / "main", port=main_port))
        aggregator = apps.aggregator(AggregatorSettings(state=folder / "aggregator", port=aggregator_port))
        yield {
            "main": stack.enter_context(served("main", main, listeners[0])),
            "aggregator": stack.enter_context(served("aggregator", aggregator, listeners[1])),
        }


@contextmanager
def logged_in(
    browser: Browser,
    server: Served,
    window: ViewportSize = DESK,
    *,
    dark: bool = False,
    scripts: bool = True,
    touch: bool = False,
) -> Iterator[BrowserContext]:
    with browser.new_context(
        viewport=window,
        has_touch=touch,
        is_mobile=touch,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",  # colours that are on their way from one to another are nobody's contrast
        java_script_enabled=scripts,
    ) as context:
        page = context.new_page()
        page.goto(server.login_link())
        assert page.url == f"{server.url}/"
        page.close()
        yield context


def test_a_stranger_logs_in_by_pasting_the_link_and_comes_where_they_wanted(
    browser: Browser, servers: dict[str, Served]
) -> None:
    server = servers["main"]
    with browser.new_context(viewport=PHONE) as context:
        page, wrong = visit(context)
        page.goto(f"{server.url}/aggregate_models")
        assert page.url.startswith(f"{server.url}/login")
        link = server.login_link()
        page.get_by_label("Login link or api-token").fill(link)
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(f"{server.url}/aggregate_models")
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(f"{server.url}/login")
        page.goto(link)
        expect(page.get_by_role("alert")).to_contain_text("was used already")
        assert wrong == ["Failed to load resource: the server responded with a status of 401 (Unauthorized)"]


@on_every_screen
@pytest.mark.parametrize("role", PATHS)
def test_pages_fit_the_screen(browser: Browser, servers: dict[str, Served], role: str, window: str, dark: bool) -> None:
    with logged_in(browser, servers[role], WINDOWS[window], dark=dark) as context:
        page, wrong = visit(context)
        for path in PATHS[role]:
            page.goto(servers[role].url + path)
            assert too_wide(page) <= 0, path
            assert violations(page) == [], path
        assert not wrong


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A main server of many classes with hostile names, one round of which has been measured."""
    folder = tmp_path_factory.mktemp("measured") / "federation"
    names = (*CLASSES, "car", "bus", "tree", "bicycle", "traffic light")
    task = Task.default(classes=names, demo=True)
    addresses = {"main_url": "http://localhost:1", "aggregator_url": "http://localhost:2"}
    init_federation(folder, **addresses, task_json=task.to_json())
    app, parts = create_app(MainServerSettings(state=folder / "main"))
    main_server_pages.install(app, parts)
    counts = np.arange(len(names) ** 2).reshape(len(names), -1) % 7 + np.eye(len(names), dtype=np.int64) * 1200
    with parts.service.database.transaction() as tx:
        model = parts.service.models.current(tx).sha256
        both = Measured(counts, 300.0), Measured(counts.T.copy(), 200.0)
        measurements.store(tx, 1, model, Totals(count=2, received=both[0], local=both[1]))
    with socket.create_server(("127.0.0.1", 0)) as listener, served("main", app, listener) as made:
        yield made


@on_every_screen
def test_figures_fit_the_screen(browser: Browser, measured: Served, window: str, dark: bool) -> None:
    with logged_in(browser, measured, WINDOWS[window], dark=dark) as context:
        page, wrong = visit(context)
        page.goto(f"{measured.url}/models/0")
        expect(page.get_by_role("heading", name="Figures", exact=True)).to_be_visible()
        expect(page.get_by_role("region", name="what was taken for what")).to_have_count(2)
        assert too_wide(page) <= 0
        assert violations(page) == []
        assert not wrong


def test_light_and_dark_differ(browser: Browser, servers: dict[str, Served]) -> None:
    grounds = set()
    for dark in (False, True):
        with logged_in(browser, servers["main"], dark=dark) as context:
            page, _wrong = visit(context)
            page.goto(servers["main"].url)
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


PRESS_ALL_THE_SAME = "button => { button.disabled = false; button.click(); }"


@pytest.mark.parametrize("role", PATHS)
def test_a_step_that_is_not_possible(browser: Browser, servers: dict[str, Served], role: str) -> None:
    """Its page says why; who asks all the same is told in place, and the page stays as it is."""
    server = servers[role]
    with logged_in(browser, server, PHONE) as context:
        page, wrong = visit(context)
        page.goto(server.url + PATHS[role][1])
        page.evaluate("window.same = true")
        button = page.get_by_role("button", name="Aggregate Local Models")
        expect(button).to_be_disabled()
        expect(page.locator(".why").first).to_contain_text("round")
        title = page.title()
        for _again in range(2):
            button.evaluate(PRESS_ALL_THE_SAME)
            notice = page.get_by_role("alert")
            expect(notice).to_contain_text("no-open-round")
            expect(notice).to_contain_text("Nothing was changed.")
            assert too_wide(page) <= 0
            assert not violations(page, "color-contrast")
            page.get_by_role("button", name="Close").click()
            expect(notice).to_be_hidden()
        assert page.evaluate("window.same"), "the page was loaded anew"
        assert (page.url, page.title()) == (server.url + PATHS[role][1], title)
        assert set(wrong) == {"Failed to load resource: the server responded with a status of 409 (Conflict)"}


@pytest.mark.parametrize("role", PATHS)
def test_a_step_that_is_not_possible_without_scripts(browser: Browser, servers: dict[str, Served], role: str) -> None:
    server = servers[role]
    path = PATHS[role][1]
    with logged_in(browser, server, PHONE, scripts=False) as context:
        page, _wrong = visit(context)
        page.goto(server.url + path)
        page.get_by_role("button", name="Aggregate Local Models").evaluate(PRESS_ALL_THE_SAME)
        expect(page.get_by_text("no-open-round")).to_be_visible()
        expect(page.get_by_role("heading", name="Not possible now")).to_be_visible()
        assert too_wide(page) <= 0
        expect(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Log")).to_be_visible()
        page.get_by_role("link", name="To the page Aggregate").click()
        expect(page).to_have_url(server.url + path)


def test_names_are_shown_as_they_are(browser: Browser, servers: dict[str, Served]) -> None:
    with logged_in(browser, servers["main"], PHONE) as context:
        page, wrong = visit(context)
        page.goto(f"{servers['main'].url}/task")
        for name in CLASSES:
            expect(page.get_by_role("list").get_by_text(name, exact=True)).to_be_visible()
        assert not wrong


def test_a_page_follows_what_happens(browser: Browser, servers: dict[str, Served]) -> None:
    """An open page shows a new state without being loaded again."""
    with logged_in(browser, servers["main"]) as context:
        page, wrong = visit(context)
        page.goto(servers["main"].url)
        page.evaluate("document.querySelector('main h1').textContent = 'out of date'; window.same = true")
        expect(page.get_by_role("heading", level=1)).to_have_text("Waiting for devices.")
        assert page.evaluate("window.same")
        assert not wrong
