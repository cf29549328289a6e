"""The page Own names, and the owner's routes behind it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from fanlight.consoles import device as device_pages
from fanlight.services.device.app import create_app
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from tests.e2e.trained_device import draw
from tests.unit.consoles.federation import SCRIPT, Page, owner
from tests.unit.consoles.joined_device import URL
from tests.unit.device.federation import NOW
from tests.unit.device.joined import done, turn
from tests.unit.device.test_home_learning import CLASSES, drawn_federation


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, DeviceRole]]:
    """A device with eight circles and eight squares, and its owner's browser."""
    federation = drawn_federation(tmp_path)
    for name in CLASSES:
        draw(tmp_path / "data" / name, name, 8)
    settings = DeviceSettings(
        token=issue_token_file(federation.folder, "porch", NOW + 1000), state=tmp_path / "state",
        data=tmp_path / "data", accept_demo=True, port=8001,
    )  # fmt: skip
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 0.0, sleep=lambda _s: None)
    app, role = create_app(settings, chances=chances, transport=federation.transport)
    device_pages.install(app, role)
    turn(role)
    role.library.refresh()
    yield owner(app, URL), role
    role.stop()


def press(browser: TestClient, **form: Any) -> Any:
    return browser.post("/own/change", data={"csrf": Page.of(browser.get("/own")).csrf(), **form})


def learned(role: DeviceRole) -> None:
    job = role.home.job
    assert job is not None
    done(role, job)


def stars(role: DeviceRole, name: str = "Minka", count: int = 6) -> None:
    draw(role.pictures.folder / "_own" / name, "star", count, "own-")
    role.library.refresh()
    learned(role)


def test_a_new_home_says_what_it_is_for(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _ = served
    page = Page.of(browser.get("/own"))
    assert "Your own cat, your car, your family." in page.text
    assert "no server, and no other home, learns of them" in page.text
    assert "Nothing was learned yet." in page.text


def test_it_is_the_owners_alone(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _ = served
    nobody = TestClient(browser.app, base_url=URL, follow_redirects=False)
    assert [nobody.get(path).status_code for path in ("/own", "/api/v1/own")] == [401, 401]
    assert browser.get("/own/change").headers["location"] == "/own"


def test_a_name_is_added_changed_and_deleted(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    assert press(browser, do="add", name="Minka", kind="circle").headers["location"] == "/own#names"
    (own,) = role.library.own.all
    assert (own.name, own.kind, own.counts) == ("Minka", "circle", False)
    assert "6 more, please" in Page.of(browser.get("/own")).text
    press(browser, do="change", number=own.number, name="Mauz", kind="square", counts="yes")
    (own,) = role.library.own.all
    assert (own.name, own.kind, own.counts) == ("Mauz", "square", True)
    assert "and counts as one" in Page.of(browser.get("/own")).text
    press(browser, do="remove", number=own.number)
    assert role.library.own.all == ()


def test_from_a_new_name_the_way_leads_to_its_pictures_and_back(
    served: tuple[TestClient, DeviceRole], tmp_path: Path
) -> None:
    browser, _ = served
    press(browser, do="add", name="Minka", kind="")
    way = next(link["href"] for link in Page.of(browser.get("/own")).all("a") if link["href"].endswith("#put-in"))
    page = Page.of(browser.get(way))
    assert [option["value"] for option in page.all("option") if "selected" in option] == ["Minka"]
    six = [("files", (path.name, path.read_bytes())) for path in draw(tmp_path / "six", "star", 6, "own-")]
    answer = browser.post("/pictures/add", data={"csrf": page.csrf(), "label": "Minka"}, files=six)
    page = Page.of(browser.get(answer.headers["location"]))
    assert "6 pictures put in: 6 Minka." in " ".join(page.text.split())
    assert "for this home alone, stands on the page Own names" in page.text
    assert "/own#known" in [link["href"] for link in page.all("a")]
    assert "more, please" not in Page.of(browser.get("/own")).text


@pytest.mark.parametrize(
    "form",
    [
        {"do": "add", "name": "circle"},
        {"do": "add", "name": ""},
        {"do": "add", "name": "Minka", "kind": "cat"},
        {"do": "change", "number": "7", "name": "Minka"},
        {"do": "remove", "number": "x"},
        {"do": "let-pass", "percent": "90"},
        {"do": "sing"},
    ],
)
def test_what_cannot_be_is_said(served: tuple[TestClient, DeviceRole], form: dict[str, str]) -> None:
    browser, role = served
    refused = press(browser, **form)
    assert refused.status_code >= 400
    assert role.library.own.all == ()


def test_what_was_learned_is_shown(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    stars(role)
    page = Page.of(browser.get("/own"))
    assert "What only this home knows." in page.text
    meters = {meter["aria-label"] for meter in page.all("meter")}
    assert {f"Share of {name} named rightly" for name in (*CLASSES, "Minka")} <= meters
    assert "least that can be promised is" in page.text or "Promised:" in page.text
    assert "What would help most" in page.text
    press(browser, do="let-pass", percent="30")
    learned(role)
    assert role.home.models.strangers_percent == 30
    assert "Promised:" in Page.of(browser.get("/own")).text


def test_few_pictures_are_asked_for_first(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    stars(role, count=2)
    assert "More pictures of Minka: it has fewer than 6." in " ".join(Page.of(browser.get("/own")).text.split())


def test_without_own_names_the_owner_may_ask_all_the_same(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    press(browser, do="learn")
    learned(role)
    assert "Of 16 pictures of the common classes" in Page.of(browser.get("/own")).text


def test_own_names_stand_beside_the_classes_where_pictures_are_labelled(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    role.library.add_own("Minka")
    gallery = Page.of(browser.get("/pictures"))
    assert "Minka" in [button.get("value") for button in gallery.all("button")]
    assert "Minka" in [option.get("value") for option in gallery.all("option")]
    sha256 = role.library.page().pictures[0].sha256
    browser.post("/pictures/change", data={"csrf": gallery.csrf(), "picture": sha256, "assign": "Minka"})
    assert role.library.counts().own == {"Minka": 1}
    one = Page.of(browser.get(f"/pictures/{sha256}"))
    assert "Minka" in one.text
    assert "1 picture labelled “Minka”" in Page.of(browser.get("/pictures?did=assign&count=1&to=Minka")).text


def test_an_own_picture_alone_is_nothing_to_learn_from_for_all(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    stars(role, count=2)
    for name in CLASSES:
        shutil.rmtree(role.pictures.folder / name)
    role.library.refresh()
    assert "nothing to learn from yet" in Page.of(browser.get("/learning")).text


def test_the_homes_head_answers_on_try_it_and_by_the_api(served: tuple[TestClient, DeviceRole], tmp_path: Path) -> None:
    browser, role = served
    stars(role)
    star = draw(tmp_path / "x", "star", 1, "x-")[0].read_bytes()
    csrf = Page.of(browser.get("/learning")).csrf()
    tried = browser.post("/learning/try", data={"csrf": csrf}, files={"picture": ("x.png", star, "image/png")})
    assert "With the own names, on top of version 0" in tried.text
    assert "Minka" in tried.text
    answer = browser.post("/api/v1/learning/try", content=star, headers={"X-CSRF-Token": csrf}).json()["answers"][0]
    assert answer["model"] == "home"
    assert answer["likeliest"] == "Minka"
    assert answer["certainty"] != "unknown"
    assert answer["class"] == "Minka"
    picture = role.library.page().pictures[0].sha256
    assert "With the own names" in browser.get(f"/pictures/{picture}").text


@pytest.mark.parametrize(
    ("floor", "certainty", "said"),
    [
        (99.0, "unknown", "It looks like nothing that you have pictures of"),
        (-99.0, "perhaps", "something that you have no pictures of may look as much like it"),
    ],
)
def test_a_stranger_is_doubted_or_called_unknown(
    served: tuple[TestClient, DeviceRole], tmp_path: Path, floor: float, certainty: str, said: str
) -> None:
    browser, role = served
    stars(role)
    kept = role.home.models.kept
    assert kept is not None
    assert kept.model.familiar is not None
    object.__setattr__(kept.model, "threshold", 99.0)
    object.__setattr__(kept.model.familiar, "floors", np.full(3, floor, np.float32))
    csrf = Page.of(browser.get("/learning")).csrf()
    picture = draw(tmp_path / "x", "triangle", 1, "x-")[0].read_bytes()
    tried = browser.post("/learning/try", data={"csrf": csrf}, files={"picture": ("x.png", picture, "image/png")})
    assert ("Unknown" in tried.text) == (certainty == "unknown")
    assert ("Perhaps" in tried.text) == (certainty == "perhaps")
    assert said in tried.text
    answer = browser.post("/api/v1/learning/try", content=picture, headers={"X-CSRF-Token": csrf}).json()["answers"][0]
    assert answer["certainty"] == certainty
    assert answer["class"] == (None if certainty == "unknown" else answer["likeliest"])


def test_the_owners_routes(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    headers = {"X-CSRF-Token": Page.of(browser.get("/own")).csrf()}
    made = browser.post("/api/v1/own", json={"name": "Minka", "kind": "circle"}, headers=headers)
    assert made.status_code == 201
    number = made.json()["number"]
    stars(role)
    found = browser.get("/api/v1/own").json()
    assert found["names"] == [{"number": number, "name": "Minka", "kind": "circle", "counts": False, "pictures": 6}]
    assert found["strangers_percent"] == 10
    assert [named["name"] for named in found["model"]["named"]] == [*CLASSES, "Minka"]
    assert found["job"]["state"] == "done"
    changed = browser.put(f"/api/v1/own/{number}", json={"name": "Mauz"}, headers=headers).json()
    assert changed == {"number": number, "name": "Mauz", "kind": None, "counts": False, "pictures": 6}
    assert browser.put("/api/v1/own/strangers", json={"percent": 5}, headers=headers).json()["strangers_percent"] == 5
    assert browser.post("/api/v1/own/learn", headers=headers).status_code in (202, 303)
    learned(role)
    assert browser.delete(f"/api/v1/own/{number}", headers=headers).json() == {"count": 6}
    assert browser.delete(f"/api/v1/own/{number}", headers=headers).status_code == 404


def test_names_from_anywhere_are_text(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    role.library.add_own(SCRIPT.replace("/", "-"))
    for path in ("/own", "/pictures"):
        assert SCRIPT.partition("/")[0] not in browser.get(path).text
