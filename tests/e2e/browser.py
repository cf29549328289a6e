"""Chromium for tests, and what they ask of a page: does it fit the screen, did anything go wrong in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.requirements import REQUIREMENTS, require

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 900}
WINDOWS = {"phone": PHONE, "desk": DESK}
on_every_screen = pytest.mark.parametrize(
    ("window", "dark"),
    [
        pytest.param("phone", True, id="phone-dark"),
        pytest.param("desk", False, id="desk-light"),
        pytest.param("phone", False, id="phone-light", marks=pytest.mark.long),
        pytest.param("desk", True, id="desk-dark", marks=pytest.mark.long),
    ],
)
"""Each window and each colour scheme in the usual run, each with each in the long one."""
_AXE = Axe().axe_script
_VIOLATIONS = "options => axe.run(options).then(found => found.violations)"
PATIENCE_MS = 60_000
"""What a page shows comes at last, however busy the machine is."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; skips (or fails, see ``requirements``) where there is none.

    In the usual run its headless shell, if that is there: the same engine, without the windows that the whole browser
    makes for each session even where nobody sees them. In the long run the whole one, as for journeys (``conftest``).
    """
    shell = None if os.environ.get("FANLIGHT_LONG") == "1" else REQUIREMENTS["headless-shell"].find()
    executable = shell or require("chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def visit(context: BrowserContext) -> tuple[Page, list[str]]:
    """A new tab, and the list into which everything that goes wrong in it is written."""
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    return page, wrong


def too_wide(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def violations(page: Page, *rules: str) -> list[str]:
    """What axe-core finds wrong in the page as it is now, a line for each element; by all rules unless some are named.

    Its script is evaluated from outside, so that the page keeps the content security policy that it was served with.
    What passes is not brought over from the browser: that would take as long as a third of the rules.
    """
    only = {"runOnly": list(rules)} if rules else {}
    page.evaluate(_AXE)
    found = page.evaluate(_VIOLATIONS, {"resultTypes": ["violations"], **only})
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for violation in found
        for node in violation["nodes"]
    ]
