"""The pages of a device's steps: what came of one, what comes next, and one strong button at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fanlight.errors import Unreachable
from fanlight.protocol.closing import Result
from fanlight.services.device.role import DeviceRole
from tests.unit.consoles.federation import Page
from tests.unit.consoles.joined_device import joined_device
from tests.unit.device.federation import FakeFederation, first_model
from tests.unit.device.joined import done, turn
from tests.unit.device.test_repeated_answers import told_twice

STEPS = {"/modeltrain": "Train", "/sendstatus": "Announce", "/sendmodel": "Send"}
PAGES = ("/", "/learning", "/privacy", *STEPS)


@pytest.fixture
def federation(tmp_path: Path) -> FakeFederation:
    return FakeFederation(tmp_path / "federation")


@pytest.fixture
def device(federation: FakeFederation, tmp_path: Path) -> Iterator[tuple[TestClient, DeviceRole]]:
    browser, role = joined_device(federation, tmp_path)
    turn(role)
    yield browser, role
    role.stop()


def strong(browser: TestClient, path: str) -> int:
    """How many strong buttons a page has."""
    page = Page.of(browser.get(path))
    return sum("primary" in item.get("class", "").split() for tag in ("button", "a") for item in page.all(tag))


def one_each(browser: TestClient) -> None:
    """Every page offers at most one thing strongly; the start page and those of the steps do offer it."""
    found = {path: strong(browser, path) for path in PAGES}
    assert max(found.values()) == 1, found
    assert found["/"] == 1, found


def in_order(text: str, *parts: str) -> None:
    places = [text.index(part) for part in parts]
    assert places == sorted(places), dict(zip(parts, places, strict=True))


def test_there_is_one_strong_button_and_the_result_comes_first(
    federation: FakeFederation, device: tuple[TestClient, DeviceRole]
) -> None:
    browser, role = device
    one_each(browser)
    assert "Next: Train" in browser.get("/sendstatus").text
    assert "Next:" not in browser.get("/modeltrain").text
    done(role, role.steps.train())
    one_each(browser)
    page = browser.get("/modeltrain").text
    in_order(page, "Done.", "Next: Announce", ">Train again<", 'aria-label="The seven steps of a round"')
    assert page.count("✓") == 1
    done(role, role.steps.announce())
    one_each(browser)
    assert "Done." in browser.get("/sendstatus").text
    federation.open_round()
    turn(role)
    done(role, role.steps.send())
    one_each(browser)
    assert browser.get("/sendmodel").text.count("✓") == 3
    federation.end_round(Result.RELEASED)
    federation.publish(first_model(version=1, bias=0.5))
    turn(role)
    turn(role)
    one_each(browser)
    assert "Train again" in browser.get("/").text
    page = browser.get("/modeltrain").text
    assert "✓" not in page
    assert "Done." not in page, "that was the last round"


def test_a_step_has_one_name_on_its_tab_and_its_page(device: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = device
    for route, name in STEPS.items():
        text = browser.get(route).text
        assert f"<h1>{name}</h1>" in text
        assert f"<title>{name} ·" in text
        assert f'<a href="{route}" aria-current="page">{name}</a>' in text


def test_what_does_not_arrive_is_said_without_the_names_that_machines_use(
    federation: FakeFederation, device: tuple[TestClient, DeviceRole]
) -> None:
    browser, role = device
    done(role, role.steps.train())
    done(role, role.steps.announce())
    federation.open_round()
    turn(role)
    federation.down.add("aggregator")
    role.jobs.wait(role.steps.send().id, 60)
    with pytest.raises(Unreachable) as caught:
        turn(role)
    role.agent._note(caught.value)
    for path in ("/", "/sendmodel"):
        text = Page.of(browser.get(path)).text
        assert "Not delivered yet." in text
        assert "The secure aggregator at http://aggregator.test does not answer." in text
        assert "tries again by itself (next try " in text
        assert "nobody is there" not in text, "what the network said is for the log"
        assert "unreachable" not in text
        assert "Sent." not in text


def test_going_back_is_said_on_the_start_page_and_of_learning(
    federation: FakeFederation, device: tuple[TestClient, DeviceRole]
) -> None:
    browser, role = device
    first = federation.model
    federation.publish(first_model(version=1, bias=0.5))
    turn(role)
    federation.publish(first)
    federation.version = 0
    turn(role)
    start, learning = (
        "".join(line.strip() for line in browser.get(path).text.splitlines()) for path in ("/", "/learning")
    )
    assert "<h1>The operator went back to version 0.</h1>" in start
    assert re.search(r"<h1>Version 0 names 50\.0.% of your 2 test pictures rightly\.</h1>", learning)
    assert "<strong>The operator went back to version 0.</strong>" in learning


def test_servers_that_contradict_themselves_stand_above_what_to_do(
    federation: FakeFederation, device: tuple[TestClient, DeviceRole]
) -> None:
    browser, role = device
    told_twice(federation, role, Result.RELEASED)
    page = browser.get("/").text
    in_order(page, "said two different things", "round 1 (noticed ", "Go on all the same", "what to do now")
    assert 'datetime="2023-11-14T22:13:20Z"' in page
    assert Page.of(browser.get("/privacy")).text.count("press the button on the page Overview") == 1
