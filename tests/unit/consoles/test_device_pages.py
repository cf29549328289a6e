"""A device's pages: pictures, what was learned, what left the device, what was refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fanlight.consoles.device_learning import class_figures
from fanlight.services.device import status as device_status
from tests.unit.consoles.federation import HOSTILE, Page, device, make_folder, owner
from tests.unit.consoles.joined_device import joined_device
from tests.unit.device.federation import FakeFederation
from tests.unit.device.joined import announced, done, turn

URL = "http://localhost:8001"
STEPS = {
    "/modeltrain": "Model Training (Locally)",
    "/sendstatus": "Send Status to Main Server",
    "/sendmodel": "Send Model to Federated Server",
}


@pytest.fixture
def browser(tmp_path: Path) -> TestClient:
    return owner(device(make_folder(tmp_path / "federation")), URL)


def metrics(*recalls: float | None) -> dict[str, Any]:
    lines = [{"class": name, "recall": recall} for name, recall in zip(("cat", "dog"), recalls, strict=True)]
    return {"accuracy": 0.75, "per_class": lines}


def learning(**changes: Any) -> dict[str, Any]:
    return {
        "classes": ["cat", "dog"],
        "pictures": {"train": {"cat": 31, "dog": 32}, "valid": {"cat": 11, "dog": 12}, "test": {"cat": 21, "dog": 22}},
        "problems": [],
        "global": {"version": 3, "sha256": "ab" * 32, "metrics": metrics(0.61, None), "before": None},
        "local": {
            "received": metrics(0.5, 0.5),
            "from_version": 2,
            "trained_at": 1,
            "examples": 63,
            "epochs": 5,
            "metrics": metrics(0.82, 0.93),
        },
        "versions": [
            {"version": 2, "metrics": {"accuracy": 0.5}},
            {"version": 3, "metrics": {"accuracy": 0.75}},
        ],
        "course": [],
        "rounds": [
            {
                "model_version": 2,
                "round": 2,
                "at": 1_700_000_000,
                "kind": "train",
                "received_accuracy": 0.2,
                "local_accuracy": 0.94,
                "examples": 63,
                "result": "released",
                "reason": "ok",
                "included": True,
            }
        ],
    } | changes


def show(monkeypatch: pytest.MonkeyPatch, name: str, value: dict[str, Any]) -> None:
    monkeypatch.setattr(device_status, name, lambda _role, _newest=None: value)


def test_a_new_device_says_what_it_waits_for(browser: TestClient) -> None:
    text = Page.of(browser.get("/")).text
    assert "Joining the federation." in text
    assert "Wait until the main server has answered" in text
    assert "Nothing yet." in text


@pytest.mark.parametrize(("route", "label"), STEPS.items())
def test_each_step_has_its_button_on_its_page_and_the_start_page(browser: TestClient, route: str, label: str) -> None:
    for path in ("/", route):
        response = browser.get(path)
        assert f">{label}</button>" in response.text
        assert (route, {"csrf"}) in Page.of(response).forms()


def test_whoever_accepts_demonstrations_sees_the_banner(tmp_path: Path) -> None:
    for accept in (True, False):
        browser = owner(device(make_folder(tmp_path / str(accept)), accept_demo=accept), URL)
        text = Page.of(browser.get("/")).text
        assert ("two devices: each can work out the other's update" in text) is accept


def test_the_model_s_accuracy_here_and_how_it_changed(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, "learning", learning())
    page = Page.of(browser.get("/"))
    for figure in ("75.0 %", "+25.0", "50.0 %", "version 3", "20.0 %", "94.0 %"):
        assert figure in page.text
    (chart,) = page.all("figure")
    assert json.loads(chart["data-chart"])["x"] == [2, 3]


def test_the_start_page_shows_the_last_five_and_where_the_others_are(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = learning()["rounds"]
    show(monkeypatch, "learning", learning(rounds=[line | {"round": number} for number in range(101, 109)]))
    page = Page.of(browser.get("/"))
    assert [str(number) in page.text for number in (103, 104, 108)] == [False, True, True]
    links = {link["href"] for link in page.all("a")}
    assert {"/learning#rounds", "/privacy", "/learning", "/pictures"} <= links


def test_a_class_is_matched_by_its_name() -> None:
    data = learning()
    for model in ("global", "local"):
        data[model]["metrics"] |= {"total": 4}
        for line in data[model]["metrics"]["per_class"]:
            line["pictures"] = 21
    cat, dog = class_figures(data)
    assert (cat.name, cat.examples, cat.pictures, cat.received, cat.own) == ("cat", 31, 21, 0.61, 0.82)
    assert (dog.received, dog.own) == (None, 0.93)
    empty = class_figures(learning(pictures=None, local=None, **{"global": None}))
    assert all((row.examples, row.pictures) == (0, 0) for row in empty)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12].encode("unicode_escape").decode())
def test_hostile_names_and_files_are_only_text(browser: TestClient, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    show(monkeypatch, "learning", learning(classes=[name], pictures={"train": {name: 1}}))
    line = {"mh": "00", "slug": "too-few", "message": name, "next": name, "refused_at": 1}
    show(monkeypatch, "refusals", {"refusals": [line]})
    found = device_status.pictures
    monkeypatch.setattr(device_status, "pictures", lambda role: found(role) | {"problems": [name]})
    page = Page.of(browser.get("/"))
    assert page.text.count(name) >= 3
    assert all(script.get("src", "").startswith("/static/") for script in page.all("script"))
    assert not any(key.startswith("on") or key == "style" for _, attributes in page.elements for key in attributes)


def test_a_folder_that_is_gone_says_so(browser: TestClient, tmp_path: Path) -> None:
    (tmp_path / "federation" / "pictures").rmdir()
    text = " ".join(Page.of(browser.get("/")).text.split())
    assert "with the pictures is not there. Was it moved, or its disk taken out? Put it back." in text
    assert "data-folder-gone" not in text


def test_what_left_the_device_is_listed(tmp_path: Path) -> None:
    federation = FakeFederation(tmp_path / "federation")
    browser, role = joined_device(federation, tmp_path)
    announced(role)
    federation.open_round()
    turn(role)
    done(role, role.steps.send())
    (line,) = device_status.sent(role)["sent"]
    text = Page.of(browser.get("/")).text
    assert f"{line['bytes'] / 1000:.1f} kB, masked" in text
    assert "confirmed" in text
    role.stop()
