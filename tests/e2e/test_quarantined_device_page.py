"""An operator puts back, in a browser, a device that is left out: a page names it, a button has it asked again."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fanlight.consoles import main_server as main_pages
from tests.e2e.browser import DESK, PHONE, too_wide, violations, visit
from tests.e2e.test_pages import Served, logged_in
from tests.e2e.test_quarantine import RULES, opened, report
from tests.services_world import running


@pytest.mark.timeout(600)
def test_the_operator_sees_who_is_left_out_and_has_it_asked_again(browser: Browser, tmp_path: Path) -> None:
    # as many are needed as report: whom the browser keeps waiting may count as away, and rounds end without them
    with running(tmp_path, **{**RULES, "k_min": 7}) as world:
        main_pages.install(world.apps["main"], world.main)
        url = world.ports["main"].url.replace("127.0.0.1", "localhost")
        served = Served("main", url, world.apps["main"])
        devices = bad, *good = world.enrolled(8)
        report(world, 1, good[:6], [bad])
        opened(world, 2)
        name = world.owner("main").status()["quarantined"][0]["name"]

        for window, dark in ((DESK, True), (PHONE, False)):
            with logged_in(browser, served, window, dark=dark, touch=window is PHONE) as context:
                page, wrong = visit(context)
                page.goto(served.url)
                page.get_by_role("link", name="See the devices").click()
                row = page.get_by_role("row").filter(has_text=bad.id.hex())
                expect(row).to_contain_text(name)
                expect(row).to_contain_text("It is left out until round 6.")
                put_back = page.get_by_role("button", name="Let it take part again")
                expect(put_back).to_have_count(1)
                page.screenshot(path=tmp_path / f"left-out-{window['width']}.png", full_page=True)
                assert too_wide(page) <= 0
                assert violations(page) == []
                if window is PHONE:
                    put_back.tap()
                    expect(put_back).to_have_count(0)
                    expect(page).to_have_url(f"{served.url}/devices")
                    expect(row).to_contain_text(name)
                    expect(row).not_to_contain_text("left out")
                assert wrong == []

        assert bad.offer().manifest is None, "the round that is open asks those whom its manifest names"
        report(world, 2, good, [])
        assert report(world, 3, devices[:7], [])["participants"] == 7, "it was asked, and has reported well"
