"""The three roles with their pages, in memory and without a network, and browsers that are logged in there."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import httpx
from fastapi import FastAPI
from starlette.testclient import TestClient

from fanlight import apps
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import Task

MAIN_URL = "http://localhost:8000"
AGGREGATOR_URL = "http://localhost:8003"
HTML = {"Accept": "text/html,application/xhtml+xml"}

OUR_SCRIPTS = ["/static/vendor/htmx/htmx.min.js", "/static/vendor/htmx/hx-sse.min.js", "/static/live.js"]
"""What every page for an owner loads; others (login, problems) load none."""
SCRIPT = "<script>alert(1)</script>"
RIGHT_TO_LEFT = "\u202egnp.exe\u202c"
LONG = "W" * 10_000
HOSTILE = (SCRIPT, '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", RIGHT_TO_LEFT, LONG)


def make_folder(folder: Path, *, demo: bool = True, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    task = Task.default(classes=classes, demo=demo)
    init_federation(folder, main_url=MAIN_URL, aggregator_url=AGGREGATOR_URL, task_json=task.to_json())
    return folder


def main_server(folder: Path) -> FastAPI:
    return apps.main_server(MainServerSettings(state=folder / "main"))


def aggregator(folder: Path) -> FastAPI:
    return apps.aggregator(AggregatorSettings(state=folder / "aggregator"))


def device(folder: Path, *, accept_demo: bool = False) -> FastAPI:
    from fanlight.services.device.settings import DeviceSettings

    (folder / "pictures").mkdir()
    token = issue_token_file(folder, "porch", 2_000_000_000)
    settings = DeviceSettings(
        state=folder / "device", token=token, data=folder / "pictures", accept_demo=accept_demo, port=8001
    )
    return apps.device(settings)


def stranger(app: FastAPI, base_url: str = MAIN_URL) -> TestClient:
    """A browser that nobody has logged in."""
    return TestClient(app, base_url=base_url, follow_redirects=False, headers=HTML)


def owner(app: FastAPI, base_url: str = MAIN_URL) -> TestClient:
    """A browser after the login link."""
    browser = stranger(app, base_url)
    assert browser.get(app.state.owner_sessions.new_link()).status_code == 303
    return browser


@dataclass
class Page(HTMLParser):
    """What a browser makes of a page: text, elements with their attributes, forms with their fields."""

    text: str = ""
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @classmethod
    def of(cls, response: httpx.Response) -> Page:
        assert response.headers["content-type"].startswith("text/html"), response.text
        page = cls()
        page.feed(response.text)
        page.close()
        return page

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def scripts(self) -> list[str]:
        """The addresses of the scripts that it loads; empty for one that stands in the page."""
        return [attributes.get("src", "") for attributes in self.all("script")]

    def forms(self) -> list[tuple[str, set[str]]]:
        """(action, names of the fields) of each form."""
        found: list[tuple[str, set[str]]] = []
        for tag, attributes in self.elements:
            if tag == "form":
                found.append((attributes["action"], set()))
            elif tag == "input":
                found[-1][1].add(attributes["name"])
        return found

    def csrf(self) -> str:
        return next(attributes["value"] for attributes in self.all("input") if attributes["name"] == "csrf")
