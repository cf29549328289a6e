"""A person names their cat, puts six pictures of it in, and the device knows it: by hand, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, ViewportSize, expect

from fanlight.services.device.role import DeviceRole
from tests.e2e.browser import DESK, PHONE, too_wide, violations
from tests.e2e.test_pages import Served, logged_in
from tests.e2e.trained_device import opened, shows, trained_device


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
    name = "Minka" if javascript else "Mauz"
    cats = draw_cats(tmp_path / "cats", 7, javascript)
    with logged_in(browser, server, DESK, scripts=javascript) as context:
        page, wrong = opened(context, f"{server.url}/own")
        page.get_by_label("A new name").fill(name)
        page.get_by_role("button", name="Add the name").click()
        expect(page.locator("#names").get_by_text(name).first).to_be_visible()
        page.goto(f"{server.url}/pictures")
        page.set_input_files("#files", cats[:6])
        page.get_by_label("They show").select_option(label=name)
        page.get_by_role("button", name="Put in").click()
        shows(page, "6 pictures put in")
        assert role.library.counts().own[name] == 6
        job = role.home.job
        assert job is not None
        assert role.jobs.wait(job.id, 60).state == "done"
        page.goto(f"{server.url}/own")
        expect(page.get_by_label(f"Share of {name} named rightly")).to_be_visible()
        page.goto(f"{server.url}/learning")
        page.set_input_files("#try-picture", cats[6])
        page.get_by_role("button", name="What is it?").click()
        answer = page.locator("#tried .answer").first
        expect(answer).to_contain_text("With the own names")
        expect(answer).to_contain_text(name)
        assert not wrong


@pytest.mark.parametrize("window", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_and_everybody_can_use_it(
    browser: Browser, device: tuple[Served, DeviceRole], window: ViewportSize, dark: bool
) -> None:
    server, role = device
    role.library.notice()
    with logged_in(browser, server, window, dark=dark) as context:
        page, wrong = opened(context, f"{server.url}/own")
        shows(page, "What it does not know")
        assert too_wide(page) == 0
        assert violations(page) == []
        assert not wrong


def draw_cats(folder: Path, each: int, striped: bool) -> list[Path]:
    """The same cat in several places; with stripes, or without."""
    folder.mkdir()
    paths = []
    for number in range(each):
        picture = Image.new("RGB", (64, 64), (90, 140 + 6 * number, 90))
        pen = ImageDraw.Draw(picture)
        left, top = 8 + 2 * number, 14 + number
        fur = (230, 140, 40) if striped else (40, 40, 50)
        pen.ellipse((left, top, left + 34, top + 30), fill=fur)
        for ear in (left + 3, left + 21):
            pen.polygon(((ear, top + 8), (ear + 5, top - 9), (ear + 11, top + 5)), fill=fur)
        for eye in (left + 9, left + 21):
            pen.ellipse((eye, top + 9, eye + 5, top + 16), fill=(240, 240, 120))
        if striped:
            for stripe in range(3):
                pen.line((left + 8 + 9 * stripe, top, left + 6 + 9 * stripe, top + 7), fill=(110, 60, 10), width=3)
        path = folder / f"cat-{number}.png"
        picture.save(path)
        paths.append(path)
    return paths
