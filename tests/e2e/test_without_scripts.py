"""The seven steps in a browser that runs no scripts: pages that are loaded again, and forms."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from fanlight.learning.datasets import shapes
from tests.e2e.browser import PATIENCE_MS, PHONE, too_wide
from tests.e2e.terminals import LIMIT_S
from tests.e2e.test_journeys import FIRST, draw, federation

STEPS = (
    ("first", "/modeltrain", "Model Training (Locally)"),
    ("second", "/modeltrain", "Model Training (Locally)"),
    ("first", "/sendstatus", "Send Status to Main Server"),
    ("second", "/sendstatus", "Send Status to Main Server"),
    ("first", "/sendmodel", "Send Model to Federated Server"),
    ("second", "/sendmodel", "Send Model to Federated Server"),
)
ADDED_UP = (
    (
        ("aggregator", "/aggregate_models", "Aggregate Local Models"),
        ("aggregator", "/send_model_secagg", "Send Aggregated Model to Main Server"),
    ),
    (("main", "/aggregate_models", "Aggregate Local Models"),),
)
"""On the aggregator's pages, or by the main server's own button."""
LAST = (
    ("main", "/send_model_clients", "Send Aggregated Models to Federated Clients"),
    ("main", "/measure", "Measure"),
)
Steps = tuple[tuple[str, str, str], ...]


def loaded_until(page: Page, address: str, text: str) -> None:
    """Load a page again and again until it says so; the test's time limit ends a wait in vain."""
    page.goto(address)
    while text not in page.get_by_role("main").inner_text():
        assert "The last attempt failed" not in page.get_by_role("main").inner_text()
        page.wait_for_timeout(200)
        page.goto(address)


def put_in(page: Page, home: str, folder: Path, seed: int) -> None:
    """Pictures of every class, each said at once to show it."""
    for name in shapes.CLASSES:
        page.goto(f"{home}/pictures")
        page.get_by_label("Pictures, or a ZIP file of them").set_input_files(draw(folder, name, FIRST, seed))
        page.get_by_label("They show").select_option(name)
        page.get_by_role("button", name="Put in", exact=True).click()
        expect(page.get_by_role("main")).to_contain_text(f"{FIRST} pictures put in")


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize(
    "added_up",
    [pytest.param(ADDED_UP[0], id="aggregator"), pytest.param(ADDED_UP[1], id="main", marks=pytest.mark.long)],
)
def test_the_seven_steps_without_scripts(browser: Browser, tmp_path: Path, added_up: Steps) -> None:
    with federation(tmp_path) as links, ExitStack() as stack:
        pages = {name: visitor(stack, browser, link) for name, link in links.items()}
        homes = {name: "{0.scheme}://{0.netloc}".format(urlsplit(link)) for name, link in links.items()}
        for seed, device in enumerate(("first", "second")):
            put_in(pages[device], homes[device], tmp_path / "new", seed)
        for role, path, name in (*STEPS, *added_up, *LAST):
            page = pages[role]
            button = page.get_by_role("button", name=name, exact=True)
            page.goto(homes[role] + path)
            while button.is_disabled():
                page.goto(homes[role] + path)
            assert too_wide(page) <= 0
            button.click()
            loaded_until(page, homes[role] + path, "Done.")
        for device in ("first", "second"):
            loaded_until(pages[device], homes[device], "Version 1 is here")
        loaded_until(pages["main"], f"{homes['main']}/models/1", "held-out pictures")


def visitor(stack: ExitStack, browser: Browser, link: str) -> Page:
    """Somebody who logs in with a phone that runs no scripts."""
    context = stack.enter_context(browser.new_context(viewport=PHONE, java_script_enabled=False))
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(link)
    return page
