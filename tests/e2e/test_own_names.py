"""A person names their cat, puts six pictures of it in, and the device knows it: by hand, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from fanlight.services.device.role import DeviceRole
from tests.e2e.browser import DESK, WINDOWS, on_every_screen, too_wide, violations
from tests.e2e.drawn_cats import MAUZ, MINKA, draw_cats
from tests.e2e.test_pages import Served, logged_in
from tests.e2e.trained_device import draw, opened, shows, trained_device


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, DeviceRole]]:
    """A device that has trained on ten pictures of each of four shapes; none of them is a letter L."""
    with trained_device(tmp_path_factory.mktemp("own-names")) as made:
        yield made


@pytest.mark.parametrize("javascript", [True, False], ids=["with scripts", "without scripts"])
def test_six_pictures_of_a_cat_are_enough_to_know_it(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path, javascript: bool
) -> None:
    server, role = device
    name, cat = ("Minka", MINKA) if javascript else ("Mauz", MAUZ)
    six = draw_cats(tmp_path / "six", cat, 6, seed=1)
    later = draw_cats(tmp_path / "later", cat, 3, seed=2)
    shape = draw(tmp_path / "shape", "triangle", 1, "new-")
    with logged_in(browser, server, DESK, scripts=javascript) as context:
        page, wrong = opened(context, f"{server.url}/own")
        page.get_by_label("A new name").fill(name)
        page.get_by_role("button", name="Add the name").click()
        expect(page.locator("#names").get_by_text(name).first).to_be_visible()
        page.goto(f"{server.url}/pictures")
        page.set_input_files("#files", six)
        page.get_by_label("They show").select_option(label=name)
        page.get_by_role("button", name="Put in").click()
        shows(page, "6 pictures put in")
        assert role.library.counts().own[name] == 6
        job = role.home.job
        assert job is not None
        assert role.jobs.wait(job.id, 60).state == "done"
        page.goto(f"{server.url}/own")
        expect(page.get_by_label(f"Share of {name} named rightly")).to_be_visible()
        for picture in later:
            said = asked(page, server, picture)
            expect(said.locator("p").first).to_contain_text("With the own names")
            expect(said.locator(".verdict")).to_contain_text(name)
            expect(said.locator(".verdict")).not_to_contain_text("Unknown")
        expect(asked(page, server, *shape).locator(".verdict")).not_to_contain_text(name)
        assert not wrong


@on_every_screen
def test_the_page_fits_and_everybody_can_use_it(
    browser: Browser, device: tuple[Served, DeviceRole], window: str, dark: bool
) -> None:
    server, role = device
    role.library.notice()
    with logged_in(browser, server, WINDOWS[window], dark=dark) as context:
        page, wrong = opened(context, f"{server.url}/own")
        shows(page, "What it does not know")
        assert too_wide(page) == 0
        assert violations(page) == []
        assert not wrong


def asked(page: Page, server: Served, picture: Path) -> Locator:
    """Try a picture; the first answer, which is that of the home's head."""
    page.goto(f"{server.url}/learning")
    page.set_input_files("#try-picture", picture)
    page.get_by_role("button", name="What is it?").click()
    return page.locator("#tried .answer > div").first
