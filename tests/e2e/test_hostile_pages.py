"""Every page of every role in a real browser, full of names that somebody means badly.

The pages are those that the applications have: a new one is visited without being named here. On each, nothing has run,
no element has been made from a name, no name turns the text beside it, the page is as wide as a phone, and what is too
long to show stands in a box that can be scrolled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page

from fanlight.consoles.events import EVENTS_PATH
from tests.e2e.browser import PHONE, too_wide, visit
from tests.e2e.hostile_worlds import WORLDS, World
from tests.e2e.test_pages import logged_in
from tests.hostile import ELEMENT, LONG, MARK, SCRIPT, TURNED

NO_PAGES = ("/protocol/", EVENTS_PATH, "/logout", "/openapi", "/docs")
QUERIES = (
    "did",
    "count",
    "label",
    "state",
    "page",
    "with",
    "next",
    "token",
    "model",
    "shows",
    "named",
    "again",
    "name",
    "study",
    "fleet",
)
GIVEN = {"bad": SCRIPT + ELEMENT + TURNED, "long": LONG}
HTML = {"Accept": "text/html"}

WRONG = r"""mark => {
  const wrong = [];
  if (window.hit !== undefined) wrong.push("a script of a name ran");
  for (const made of document.querySelectorAll(`${mark}, [onerror], [onclick], img[src=x], script:not([src])`))
    wrong.push(`an element was made: ${made.outerHTML.slice(0, 80)}`);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const style = node => getComputedStyle(node);
  const above = function* (node) { for (; node; node = node.parentElement) yield node; };
  const find = (node, condition) => { for (const one of above(node)) if (condition(one)) return one; return null; };
  while (walker.nextNode()) {
    const { data, parentElement: parent } = walker.currentNode;
    if (!parent.checkVisibility() || parent.closest("textarea, option, script")) continue;
    if (/[\u202a-\u202e\u2066-\u2069]/.test(data)) {
      const own = find(parent, node => /isolate|plaintext/.test(style(node).unicodeBidi));
      if (own === null || own.textContent.trim() !== data.trim())
        wrong.push(`text beside a name is turned: ${parent.outerHTML.slice(0, 120)}`);
    }
    if (data.length > 1000) {
      const scrolls = node => /auto|scroll/.test(style(node).overflowY) && node.scrollHeight > node.clientHeight;
      const box = find(parent, scrolls);
      if (box === null || box.clientHeight > 300 || box.clientHeight < 16)
        wrong.push(`${data.length} letters are not in a box: ${parent.outerHTML.slice(0, 120)}`);
      else if (box.tabIndex < 0) wrong.push(`a keyboard does not reach: ${box.outerHTML.slice(0, 120)}`);
    }
  }
  return wrong;
}"""
WIDEST = """() => {
  const right = node => node.getBoundingClientRect().right;
  const all = [...document.body.querySelectorAll("*")].filter(node => node.closest(".tools") === null);
  return all.reduce((a, b) => right(b) >= right(a) ? b : a).outerHTML.slice(0, 160);
}"""


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with WORLDS[request.param](tmp_path_factory.mktemp("hostile") / request.param) as made:
        yield made


@pytest.fixture(scope="module")
def context(browser: Browser, world: World) -> Iterator[BrowserContext]:
    with logged_in(browser, world.served, PHONE) as found:
        yield found


def addresses(world: World) -> list[str]:
    """Every GET route of the application with its parameters filled in, and the other addresses of the world."""
    found = []
    for route in iter_route_contexts(world.served.app.routes):
        path = route.path or ""
        if "GET" not in (route.methods or ()) or path.startswith(NO_PAGES):
            continue
        unknown = [name for name in re.findall(r"{(\w+)", path) if name not in world.parameters | FEW]
        assert not unknown, f"{path}: say in hostile_worlds what {unknown} can be"
        found.append(re.sub(r"{(\w+)[^}]*}", lambda name: (FEW | world.parameters)[name[1]], path))
    return [*found, *world.more]


START = {
    "main": ("/models/1", "/task", "/studies"),
    "aggregator": ("/aggregate_models",),
    "device": ("/pictures", "/own", "/learning", "/privacy"),
}
"""Pages with forms, or that look at their address."""
FILL = """([number, text]) => {
  const form = document.querySelectorAll("main form[method=post]")[number];
  for (const field of form.elements) {
    if (field.name === "csrf" || field.type === "file" || field.tagName === "BUTTON") continue;
    if (field.tagName === "SELECT") field.add(new Option(text, text, true, true));
    else {
      if (field.tagName === "INPUT") field.type = "text";
      field.removeAttribute("maxlength");
      field.value = text;
    }
  }
  form.noValidate = true;
}"""
SEND = """number => {
  const form = document.querySelectorAll("main form[method=post]")[number];
  form.requestSubmit(form.querySelector("button:not([disabled], [type=button])"));
}"""
FILL_AND_SEND = f"""given => {{
  if (!document.querySelectorAll("main form[method=post]")[given[0]]) return false;
  ({FILL})(given);
  ({SEND})(given[0]);
  return true;
}}"""
"""At once: were the page kept fresh in between, the form would be checked by the browser again, and not be sent. And as
soon as the form is there: what is kept fresh may have fewer of them for a moment."""
NEW_PAGE = "() => !window.left"
SETTLED = """() => document.readyState === "complete"
  && document.querySelector(".htmx-request, [data-uploading] progress") === null"""
FEW = {"job_id": "none", "mh": "ab" * 32}
"""Parameters of addresses that are no pages, or say that there is nothing."""


def looked_at(page: Page, address: str) -> list[str]:
    """What is wrong with the page as it is now."""
    wrong = [f"{address}: {found}" for found in page.evaluate(WRONG, MARK)]
    if too_wide(page) > 0:
        wrong.append(f"{address}: {too_wide(page)} pixels wider than the screen, at {page.evaluate(WIDEST)}")
    return wrong


def test_every_page_shows_them_as_text(world: World, context: BrowserContext) -> None:
    page, errors = visit(context)
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    shown: set[str] = set()
    wrong: list[str] = []
    for address in addresses(world):
        answer = context.request.get(world.served.url + address, headers=HTML)
        assert answer.headers["x-content-type-options"] == "nosniff", address
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        page.goto(world.served.url + address)
        wrong += looked_at(page, address)
        shown.add(address.partition("?")[0])
    assert not wrong, "\n".join(wrong)
    assert len(shown) >= 5
    assert not [error for error in errors if "status of" not in error]


@pytest.mark.parametrize("text", GIVEN.values(), ids=GIVEN)
def test_no_address_puts_anything_into_a_page(world: World, context: BrowserContext, text: str) -> None:
    """A link from a stranger, as it would be clicked: every query that a page may look at is theirs."""
    page, errors = visit(context)
    query = urlencode(dict.fromkeys(QUERIES, text[:2000]))
    wrong: list[str] = []
    for address in ("/", *START[world.served.role], "/login", f"/{quote(text[:500], safe='')}"):
        page.goto(f"{world.served.url}{address}?{query}")
        wrong += looked_at(page, address)
    assert not wrong, "\n".join(wrong)
    assert not [error for error in errors if "status of" not in error]


@pytest.mark.parametrize("text", GIVEN.values(), ids=GIVEN)
def test_what_a_form_sends_comes_back_as_text(world: World, context: BrowserContext, text: str) -> None:
    """Each form with this text in all its fields, as a browser sends it; most are refused, and say why."""
    page, errors = visit(context)
    wrong: list[str] = []
    sent = 0
    for address in START[world.served.role]:
        page.goto(world.served.url + address)
        for number in range(page.locator("main form[method=post]").count()):
            page.goto(world.served.url + address)
            form = page.locator("main form[method=post]").nth(number)
            if not form.locator("input:not([type=hidden]), textarea").count():
                continue  # only a button
            page.evaluate("() => { window.left = true; }")
            uploads = form.get_attribute("data-upload") is not None
            with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
                for chooser in form.locator("input[type=file]:not([webkitdirectory])").all():
                    chooser.set_input_files(FilePayload(name=f"{text[:200]}.png", mimeType="image/png", buffer=b"none"))
                if not form.locator("[data-send-at-once]").count():  # chosen files are sent already
                    page.wait_for_function(FILL_AND_SEND, arg=[number, text[:12_000]])
            sent += 1
            if uploads or answer.value.request.is_navigation_request():
                page.wait_for_function(NEW_PAGE)
            page.wait_for_function(SETTLED)
            wrong += looked_at(page, f"{address}, form {number}")
    assert bool(sent) == (world.served.role != "aggregator"), "all of the aggregator's forms are only buttons"
    assert not wrong, "\n".join(wrong)
    assert not [error for error in errors if "status of" not in error]
