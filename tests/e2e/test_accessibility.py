"""Nothing on any page keeps people from using it (axe-core), and no page is wider than its window.

All pages that links lead to are looked at, and those that come after a form, at 390 and at 1280 px, light and dark
(each with each in the long run): in
a federation that has learned for two rounds, and at a device that finds nobody. Pages of servers without devices or
with names from strangers, and what the other tests come to, are looked at there in the same way.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import Browser, FilePayload, Page, ViewportSize, expect

from fanlight.learning.datasets import shapes
from fanlight.learning.datasets.chance import Chance
from tests.e2e.browser import DESK, PHONE, too_wide, violations, visit
from tests.e2e.lonely_device import lonely_device
from tests.e2e.test_demo import LIMIT_S, Demo

ALL_ROLES: Final = {"/", "/libraries"}
PAGES: Final = {
    "main": {
        *("/aggregate_models", "/send_model_clients", "/rounds", "/rounds/#", "/models", "/models/#"),
        *("/devices", "/task", "/studies", "/log", "/measure"),
    },
    "aggregator": {"/aggregate_models", "/send_model_secagg", "/rounds", "/log"},
    "device-1": {
        *("/modeltrain", "/sendstatus", "/sendmodel", "/privacy", "/own", "/learning", "/learning/pictures"),
        *("/pictures", "/pictures/#", "/pictures?label", "/pictures?state=labelled", "/pictures?state=suggested"),
        *("/pictures?state=unlabelled", "/pictures?state=not_usable", "/pictures?state=deleted"),
        *("/pictures?problem=blurred", "/pictures?problem=tiny", "/pictures?problem=duplicates"),
    },
}
"""Pages that must be among those that links lead to; see ``kind_of``."""
_NO_PAGES: Final = ("/api/", "/static/")
_TOLD_APART_BY: Final = ("state", "problem")


Way = tuple[ViewportSize, Literal["light", "dark"], *tuple[str, ...]]
WAYS: list[Way] = [(PHONE, "light"), (DESK, "dark")]
if os.environ.get("FANLIGHT_LONG") == "1":
    WAYS += [(PHONE, "dark", "color-contrast"), (DESK, "light", "color-contrast")]
"""Windows and schemes, and the rules that still say something new there: all, if none is named."""


@dataclass
class Looked:
    """What was looked at, by kind, and what was found."""

    kinds: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def look(self, page: Page, kind: str) -> None:
        """At the page as it is now, in all its ways; what can be unfolded is."""
        self.kinds.add(kind)
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        for window, scheme, *rules in WAYS:
            page.set_viewport_size(window)
            page.emulate_media(color_scheme=scheme)
            self.faults += [f"{kind} {window['width']} {scheme}: {fault}" for fault in violations(page, *rules)]
            if (beyond := too_wide(page)) > 0:
                self.faults.append(f"{kind} {window['width']}: {beyond} pixels too wide")

    def follow_links(self, page: Page, start: str) -> None:
        """Look at everything that links lead to from ``start`` on, one page of each kind."""
        waiting = [start]
        while waiting:
            address = waiting.pop(0)
            if kind_of(address) in self.kinds:
                continue
            page.goto(address)
            self.look(page, kind_of(address))
            waiting += [link for link in links_of(page) if kind_of(link) not in self.kinds]


def links_of(page: Page) -> list[str]:
    """Addresses of pages on the same server that the page leads to."""
    found: list[str] = page.eval_on_selector_all("main a[href], nav a[href], footer a[href]", _LINKS)
    return [link for link in found if not urlsplit(link).path.startswith(_NO_PAGES)]


_LINKS = """links => links
  .filter(link => link.origin === location.origin && !link.download)
  .filter(link => !link.pathname.endsWith("/original"))
  .map(link => link.href.split("#")[0])"""


def kind_of(address: str) -> str:
    """The address without what tells alike pages apart: numbers, fingerprints, names."""
    parts = urlsplit(address)
    path = re.sub(r"/([0-9a-f]{64}|\d+)(?=/|$)", "/#", parts.path)
    query = [f"{name}={value}" if name in _TOLD_APART_BY else name for name, value in parse_qsl(parts.query)]
    if "label" in query:
        query = ["label"]
    return path + ("?" + "&".join(query) if query and path == "/pictures" else "")


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Login links of four processes that have learned for two rounds; device 1 got more pictures since."""
    folder = tmp_path_factory.mktemp("demo")
    demo = Demo(folder, "--dataset", "shapes", "--rounds", 2)
    try:
        said = demo.until_said("Accuracy on held-out pictures")
        (pictures,) = (demo.state / "pictures").glob("*/device-1")
        add_pictures(pictures)
        yield dict(re.findall(r"^ +(\S+) +(http\S+/login\?token=\S+)$", said, re.MULTILINE))
    finally:
        demo.close()


def add_pictures(folder: Path) -> None:
    """Some without a label, and some of each kind that hints are given about."""
    chance = Chance("accessibility", 1)
    drawn = [Image.fromarray(shapes.draw(name, chance)) for name in shapes.CLASSES]
    for state in ("_unlabelled", "_not-usable", "_deleted"):
        (folder / state).mkdir(exist_ok=True)
    for number, picture in enumerate(drawn):
        picture.save(folder / "_unlabelled" / f"new {number}.png")
    drawn[0].resize((300, 300)).save(folder / "_unlabelled" / "alike.png")
    drawn[1].resize((24, 24)).save(folder / "_unlabelled" / "tiny.png")
    drawn[2].filter(ImageFilter.GaussianBlur(12)).save(folder / "_unlabelled" / "blurred.png")
    drawn[3].rotate(40).save(folder / "_not-usable" / "dark.png")
    drawn[3].rotate(20).save(folder / "_deleted" / "gone.png")


@contextmanager
def logged_in(browser: Browser, link: str) -> Iterator[tuple[Page, list[str]]]:
    with browser.new_context(viewport=PHONE, reduced_motion="reduce") as context:
        page, wrong = visit(context)
        page.goto(link)
        yield page, wrong


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("role", PAGES)
def test_every_page(browser: Browser, links: dict[str, str], role: str) -> None:
    looked = Looked()
    with logged_in(browser, links[role]) as (page, wrong):
        start = page.url
        if role == "device-1":
            what_forms_show(looked, page)
        looked.follow_links(page, start)
        assert not wrong
        refused(looked, page, start)
        page.context.clear_cookies()
        page.goto(start)
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        looked.look(page, "login")
    assert not looked.faults
    assert looked.kinds >= PAGES[role] | ALL_ROLES


def what_forms_show(looked: Looked, page: Page) -> None:
    """At a device: what the model suggests, what came of an upload, and a picture that was tried."""
    go(page, "Pictures")
    page.get_by_role("button", name="Suggest labels").click()
    expect(page.get_by_role("checkbox", name=re.compile("suggested: ")).first).to_be_visible()
    looked.look(page, "suggestions")
    no_picture = FilePayload(name="notes.png", mimeType="image/png", buffer=b"no picture")
    go(page, "Pictures")
    page.get_by_label(re.compile("^Pictures, or a ZIP")).set_input_files(no_picture)
    page.get_by_role("button", name="Put in").click()
    expect(page.get_by_text("notes.png").first).to_be_visible()
    looked.look(page, "upload")
    page.get_by_label("Name of the class").fill("hexagon")
    page.get_by_role("button", name="Propose to the operator").click()
    expect(page.get_by_text("The new class was proposed")).to_be_visible()
    looked.look(page, "proposed")
    go(page, "Learning")
    picture = FilePayload(name="tried.png", mimeType="image/png", buffer=png())
    page.get_by_label(re.compile("^A picture, please")).set_input_files(picture)
    page.get_by_role("button", name="What is it?").click()
    expect(page.get_by_role("heading", name="What the model sees in tried.png")).to_be_visible()
    looked.look(page, "tried")


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("navigation", name="Pages").locator("[aria-current]")).to_have_text(name)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(shapes.draw("star", Chance("tried", 1))).save(file, "png")
    return file.getvalue()


def refused(looked: Looked, page: Page, start: str) -> None:
    """A page that is not there, and a form that is not accepted."""
    page.goto(f"{start}no-such-page")
    looked.look(page, "not found")
    page.goto(start)
    page.evaluate("document.querySelector('form.act').submit()")  # as without scripts, though the button is not offered
    page.wait_for_url(lambda address: address != start)
    looked.look(page, "refused")


def test_a_device_that_finds_nobody(browser: Browser, tmp_path: Path) -> None:
    looked = Looked()
    with lonely_device(tmp_path) as server, logged_in(browser, server.login_link()) as (page, wrong):
        expect(page.get_by_role("alert")).to_be_visible()
        looked.follow_links(page, page.url)
        assert not wrong
    assert not looked.faults
    assert looked.kinds >= {"/", "/pictures", "/learning", "/privacy", "/modeltrain", "/libraries"}


def test_faults_are_found(browser: Browser) -> None:
    """A page with three faults and a width of its own: else all of the above would say nothing."""
    looked = Looked()
    with browser.new_context() as context:
        page, _wrong = visit(context)
        page.set_content(
            "<html lang=en><title>Bad</title><main><h1>Bad</h1><img src=x><button></button>"
            "<p style='color: #999; background: #fff; width: 500px'>faint</p></main></html>"
        )
        looked.look(page, "bad")
    said = "\n".join(looked.faults)
    for fault in ("image-alt", "button-name", "color-contrast", "bad 390: "):
        assert fault in said
