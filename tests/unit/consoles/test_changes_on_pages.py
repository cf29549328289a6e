"""What the pages say and offer of changes: heads, backbones, and who joins, changes or is to be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from fanlight.protocol.exchange import Change
from fanlight.protocol.statistics import Sums
from fanlight.services.device import counted
from fanlight.services.device.counted import Counted, InQuestion
from fanlight.services.main_server import collected_sums, notes
from fanlight.services.main_server.app import MainServerParts
from tests.unit.consoles.federation import Page, owner
from tests.unit.consoles.test_main_pages import post
from tests.unit.consoles.test_privacy import URL, folder, made  # noqa: F401 a fixture
from tests.unit.consoles.test_privacy import post as post_to_device
from tests.unit.main_server.past import add_member, add_round, server


@pytest.fixture
def solved(tmp_path: Path) -> Iterator[tuple[MainServerParts, TestClient]]:
    """A main server with a head that was solved from the sums of five devices."""
    app, parts = server(tmp_path / "main-federation", demo=True, head="analytic")
    add_round(parts, 1)
    sums, each = Sums(*(np.zeros(1, np.int64),) * 3), np.full(2, 5)
    with parts.service.database.transaction() as tx:
        collected_sums.keep(tx, collected_sums.Collected(sums, each, 5, 1, 1))
    yield parts, owner(app)
    parts.service.close()


def test_the_head_is_changed_by_its_form(solved: tuple[MainServerParts, TestClient]) -> None:
    parts, browser = solved
    page = Page.of(browser.get("/task"))
    assert {"head", "backbone"} <= {field["name"] for field in page.all("select")}
    assert "begins with version 2" in page.text
    assert post(browser, "/task", "/task/learns-by", head="softmax", backbone="efficientnet-lite0") == 303
    parts.conductor.advance()
    page = Page.of(browser.get("/task"))
    assert "softmax: trained round by round" in page.text
    assert "What the head is solved from" not in page.text
    assert post(browser, "/task", "/task/learns-by", head="forest") == 400
    assert parts.service.task.head == "softmax"


def test_changes_are_taken_in_by_a_button_as_soon_as_they_have_company(
    solved: tuple[MainServerParts, TestClient],
) -> None:
    parts, browser = solved
    devices = [add_member(parts, number) for number in (1, 2)]
    for device in devices:
        parts.service.see(device)
    parts.service.changers.say(devices[0], 1, Change.LEAVES)
    page = Page.of(browser.get("/task"))
    shown = " ".join(page.text.split()).partition("What the head is solved from")[2]
    assert "Devices that wait to be forgotten1" in shown
    assert "/task/take-changes" not in [action for action, _ in page.forms()]
    csrf = page.csrf()
    assert browser.post("/task/take-changes", data={"csrf": csrf}).status_code == 409
    parts.service.changers.say(devices[1], 1, Change.JOINS)
    assert post(browser, "/task", "/task/take-changes") == 303
    with parts.service.database.reading() as tx:
        assert notes.read(tx, notes.CHANGES_NEXT, 0) == 1


def test_an_owner_has_pictures_taken_out_and_stays_after_all(folder: Path) -> None:  # noqa: F811 the fixture
    app, role = made(folder)
    browser = owner(app, URL)
    assert "Be forgotten" not in Page.of(browser.get("/privacy")).text
    assert post_to_device(browser, "/privacy/forget", on="yes") == 409, "nothing is counted: it can leave at once"
    mine = Counted(collection=1, round=1, sums=bytes(32), examples=8, supporters=(True,), pictures=bytes(32))
    with role.store.values.changing() as tx:
        counted.sent(tx, InQuestion(mh=bytes(32), round=1, then=mine))
    with role.store.values.changing() as tx:
        counted.ended(tx, bytes(32), counted=True, now=1)
    assert "8 training pictures of yours since round 1" in " ".join(Page.of(browser.get("/privacy")).text.split())
    assert post_to_device(browser, "/privacy/forget", on="yes") == 303
    assert "waiting for company" in Page.of(browser.get("/privacy")).text
    assert "Waiting to be forgotten." in Page.of(browser.get("/")).text
    assert post_to_device(browser, "/privacy/forget", on="") == 303
    assert "Waiting to be forgotten." not in Page.of(browser.get("/")).text
    role.stop()
