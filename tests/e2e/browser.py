"""Chromium for tests, and what they ask of a page: does it fit the screen, did anything go wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from tests.requirements import require

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


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; skips (or fails, see ``requirements``) where there is none."""
    executable = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def visit(context: BrowserContext) -> tuple[Page, list[str]]:
    """A new tab, and the list into which everything that goes wrong in it is written."""
    context.set_default_timeout(20_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    return page, wrong


def too_wide(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def faint(page: Page, least: float = 4.5) -> list[str]:
    """The visible texts whose contrast with their ground is below ``least`` (WCAG 2.2, success criterion 1.4.3)."""
    return list(page.evaluate(_FAINT, least))


_FAINT = r"""least => {
  const numbers = colour => colour.match(/[\d.]+/g).map(Number);
  const clear = node => (numbers(getComputedStyle(node).backgroundColor)[3] ?? 1) < 0.5;
  const light = colour => numbers(colour).slice(0, 3)
    .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const hasText = node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
  const texts = [...document.body.querySelectorAll("*")].filter(node => hasText(node) && node.checkVisibility());
  return texts.filter(node => {
    let ground = node;
    while (ground !== document.body && clear(ground)) ground = ground.parentElement;
    const pair = [light(getComputedStyle(node).color), light(getComputedStyle(ground).backgroundColor)];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05) < least;
  }).map(node => node.textContent.trim());
}"""
