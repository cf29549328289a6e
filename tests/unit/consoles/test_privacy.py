"""A device's privacy page: what was sent, what was refused, and what its owner allows from now on."""

from __future__ import annotations

import io
import re
import zlib
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fanlight.consoles import device as device_pages
from fanlight.consoles import device_lists, privacy
from fanlight.errors import Refused
from fanlight.learning.backbones import BACKBONES
from fanlight.protocol.closing import Result
from fanlight.protocol.plan import Kind
from fanlight.services.device import status as device_status
from fanlight.services.device.app import create_app
from fanlight.services.device.masked_picture import masked_picture
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.device.wishes import HEADS
from fanlight.services.federation import issue_token_file
from tests.unit.consoles.federation import HOSTILE, OUR_SCRIPTS, Page, make_folder, owner, stranger
from tests.unit.consoles.joined_device import joined_device
from tests.unit.device.federation import FakeFederation, first_model
from tests.unit.device.joined import announced, done, turn

URL = "http://localhost:8001"


def made(folder: Path) -> tuple[FastAPI, DeviceRole]:
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    token = folder / "token.json"
    if not token.exists():
        issue_token_file(folder, "porch", 2_000_000_000).rename(token)
    settings = DeviceSettings(state=folder / "device", token=token, data=pictures, port=8001)
    app, role = create_app(settings, transport=httpx.MockTransport(nobody))
    device_pages.install(app, role)
    return app, role


def nobody(request: httpx.Request) -> httpx.Response:
    """No server is there."""
    raise httpx.ConnectError("nobody is there", request=request)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "federation")


def test_what_may_be_trained_is_chosen_on_the_page(folder: Path) -> None:
    app, role = made(folder)
    browser = owner(app, URL)
    assert role.rounds.wishes.choices == dict.fromkeys([*BACKBONES, *HEADS], True)
    text = Page.of(browser.get("/privacy")).text
    assert (
        text.index("Backbones") < text.index("efficientnet-lite0-levels") < text.index("Heads") < text.index("softmax")
    )
    assert text.count("with the fingerprint") == len(BACKBONES)
    assert post(browser, "/privacy/allowed", name="softmax") == 303
    assert role.rounds.wishes.choices == {name: name == "softmax" for name in (*BACKBONES, *HEADS)}
    assert not role.rounds.wishes.floors.backbones
    assert role.rounds.wishes.floors.heads == {"softmax"}
    ticked = [box["value"] for box in Page.of(browser.get("/privacy")).all("input") if "checked" in box]
    assert "softmax" in ticked
    assert "efficientnet-lite0" not in ticked
    assert post(browser, "/privacy/allowed", name="resnet") == 400
    role.rounds.wishes.pause(True)
    assert role.rounds.wishes.choices["efficientnet-lite0"] is False, "what else is changed leaves it alone"
    role.rounds.wishes.allow([*BACKBONES, *HEADS])
    assert role.rounds.wishes.kept.excluded == ()


def post(browser: TestClient, path: str, **fields: str) -> int:
    page = Page.of(browser.get("/privacy"))
    return int(browser.post(path, data={"csrf": page.csrf(), **fields}).status_code)


def test_floors_hold_at_once_and_after_a_restart(folder: Path) -> None:
    app, role = made(folder)
    browser = owner(app, URL)
    assert (role.rounds.wishes.floors.k_min, role.rounds.wishes.floors.accept_demo) == (5, False)
    assert post(browser, "/privacy/floors", k_min="7", answers_per_day="3", r_max_percent="8", accept_demo="yes") == 303
    role.stop()
    _app, again = made(folder)
    floors = again.rounds.wishes.floors
    kept = {"k_min": 7, "answers_per_day": 3, "r_max_percent": 8, "accept_demo": True}
    assert {name: getattr(floors, name) for name in kept} == kept
    assert device_status.status(again)["floors"] == kept
    again.stop()


@pytest.mark.parametrize("k_min", ["1", "0", "-3", "x", "", "٣", "9999999999999", "1048577"])
def test_a_floor_out_of_range_leads_back_with_what_was_typed_and_changes_nothing(folder: Path, k_min: str) -> None:
    app, role = made(folder)
    browser = owner(app, URL)
    csrf = Page.of(browser.get("/privacy")).csrf()
    typed = {"k_min": k_min, "answers_per_day": "3", "r_max_percent": "35"}
    answer = browser.post("/privacy/floors", data=typed | {"csrf": csrf})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/privacy?")
    page = Page.of(browser.get(answer.headers["location"]))
    fields = {field["name"]: field for field in page.all("input")}
    assert fields["k_min"]["value"] == k_min
    assert fields["k_min"]["aria-invalid"] == "true"
    assert "k-min-wrong" in fields["k_min"]["aria-describedby"]
    assert fields["answers_per_day"]["value"] == "3"
    assert "aria-invalid" not in fields["answers_per_day"]
    assert (fields["r_max_percent"]["value"], fields["r_max_percent"]["aria-invalid"]) == ("35", "true")
    assert "Nothing was changed" in page.text
    assert role.rounds.wishes.kept.k_min == 5
    role.stop()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_was_typed_is_only_text(folder: Path, text: str) -> None:
    app, role = made(folder)
    page = Page.of(owner(app, URL).get("/privacy", params={"k_min": text, "answers_per_day": text}))
    assert text in [field.get("value") for field in page.all("input")]
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    role.stop()


@pytest.mark.parametrize(("path", "slug"), [("/privacy/pause", "paused"), ("/privacy/leave", "left")])
def test_who_pauses_or_leaves_answers_no_round_until_told_otherwise(folder: Path, path: str, slug: str) -> None:
    app, role = made(folder)
    browser = owner(app, URL)
    assert post(browser, path, on="yes", sure="yes") == 303
    assert device_status.status(role)[slug]
    with pytest.raises(Refused) as refused:
        role.rounds.opening()
    assert refused.value.slug == slug
    assert ("Paused: nothing is sent." if slug == "paused" else "has left the federation") in browser.get(
        "/privacy"
    ).text
    assert post(browser, path, on="") == 303
    role.rounds.wishes.check()
    role.stop()


def test_leaving_is_asked_twice_and_says_what_goes_where(folder: Path) -> None:
    app, role = made(folder)
    browser = owner(app, URL)
    assert post(browser, "/privacy/leave", on="yes") == 400
    assert not role.rounds.wishes.kept.left
    page = Page.of(browser.get("/privacy"))
    assert ("/privacy/leave", {"csrf", "on", "sure"}) in page.forms()
    for words in ("This device", "Main server", "Secure aggregator", str(role.pictures.folder), "No round is open now"):
        assert words in page.text
    assert post(browser, "/privacy/leave", on="yes", sure="yes") == 303
    text = Page.of(browser.get("/privacy")).text
    assert text.count("not told yet") == 2
    assert "does not answer" in text
    assert "Come back" in text
    assert "Your floors" not in text
    assert "This device has left the federation." in Page.of(browser.get("/")).text
    role.stop()


def test_a_pause_shows_on_the_start_page(folder: Path) -> None:
    app, role = made(folder)
    browser = owner(app, URL)
    assert post(browser, "/privacy/pause", on="yes") == 303
    page = Page.of(browser.get("/"))
    assert "You have paused this device: nothing is sent." in page.text
    assert "the next ones go on without this device" in page.text
    assert page.forms().count(("/privacy/pause", {"csrf"})) == 1, "its button does it, without another page"
    assert post(browser, "/privacy/pause") == 303
    assert not role.rounds.wishes.kept.paused
    role.stop()


def test_nothing_changes_without_the_forms_token_or_for_strangers(folder: Path) -> None:
    app, role = made(folder)
    for browser, expected in ((owner(app, URL), 403), (stranger(app, URL), 303)):
        for path in ("/privacy/floors", "/privacy/pause", "/privacy/leave"):
            response = browser.post(path, data={"on": "yes", "k_min": "2", "answers_per_day": "9"})
            assert response.status_code in (expected, 401)
    assert not role.rounds.wishes.kept.paused
    assert role.rounds.wishes.kept.k_min == 5
    assert stranger(app, URL).get("/privacy").status_code == 303
    role.stop()


def test_long_lists_go_on_page_by_page_in_the_order_of_the_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = FakeFederation(tmp_path / "federation")
    browser, role = joined_device(federation, tmp_path)
    turn(role)
    for attempt in range(6):  # all in one second
        federation.open_round(Kind.MEASURE, attempt=attempt)
        turn(role)
    role.rounds.wishes.set_floors(k_min=5, accept_demo=False, answers_per_day=500, r_max_percent=34)
    federation.open_round()
    turn(role)
    assert [line["round"] for line in device_status.sent(role)["sent"]] == [1, 2, 3, 4, 5, 6]
    assert [line["round"] for line in device_status.sent(role, 2)["sent"]] == [5, 6]
    monkeypatch.setattr(device_lists, "SIZE", 4)
    for path in ("/privacy/sent", "/learning/rounds"):
        first, second = (browser.get(path, params={"page": page}) for page in (1, 2))
        rounds = [re.findall(r"<strong>(\d+)</strong>", response.text) for response in (first, second)]
        assert rounds == [["6", "5", "4", "3"], ["2", "1"]]
        assert f'href="{path}?page=2"' in first.text
        assert "There is no such page." in browser.get(path, params={"page": 3}).text
    assert "marked as a demonstration" in browser.get("/privacy/refused").text
    monkeypatch.setattr(privacy, "NEWEST", 3)
    assert 'href="/privacy/sent">All of them' in browser.get("/privacy").text
    assert "/api/" not in browser.get("/privacy").text
    role.stop()


def test_what_left_is_listed_with_its_picture_while_the_round_runs(tmp_path: Path) -> None:
    federation = FakeFederation(tmp_path / "federation")
    browser, role = joined_device(federation, tmp_path)
    over = report(federation, role)
    federation.end_round(Result.RELEASED)
    federation.publish(first_model(version=1, bias=0.5))
    turn(role)
    running = report(federation, role)
    page = Page.of(browser.get("/privacy"))
    for line in device_status.sent(role)["sent"]:
        assert f"{line['bytes'] / 1000:.1f} kB, masked" in page.text
    pictures = [attributes["src"] for attributes in page.all("img") if attributes["src"].startswith("/privacy")]
    assert pictures == [f"/privacy/sent/{running}.png"]
    assert browser.get(pictures[0]).content.startswith(b"\x89PNG")
    for unknown in (over, "ab" * 32, "nonsense", "zz" * 32):
        assert browser.get(f"/privacy/sent/{unknown}.png").status_code == 404
    role.stop()


def report(federation: FakeFederation, role: DeviceRole) -> str:
    """Steps 1 to 3; the manifest of the round, in hexadecimal."""
    announced(role)
    federation.open_round()
    turn(role)
    done(role, role.steps.send())
    manifest = role.offers.manifest
    assert manifest
    return manifest.hash.hex()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_refusals_are_only_text(folder: Path, text: str) -> None:
    app, role = made(folder)
    role.store.refusals.keep(bytes(32), Refused(text, slug="too-few", next=text), 1)
    page = Page.of(owner(app, URL).get("/privacy"))
    assert page.text.count(text) == 2
    assert page.scripts() == OUR_SCRIPTS
    role.stop()


def test_the_picture_is_the_highest_byte_of_each_number() -> None:
    words = 160 * 3 + 7
    y = b"".join(b"\x01\x02\x03" + bytes([index % 251]) for index in range(words))
    png = masked_picture(io.BytesIO(y), words)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png[16:24] == (160).to_bytes(4, "big") + (3).to_bytes(4, "big")
    start = png.index(b"IDAT") + 4
    length = int.from_bytes(png[start - 8 : start - 4], "big")
    rows = zlib.decompress(png[start : start + length])
    assert len(rows) == 3 * 161
    assert rows[1:161] == bytes(index % 251 for index in range(160))


def test_a_report_shorter_than_a_row_and_a_long_one() -> None:
    assert masked_picture(io.BytesIO(bytes(8)), 2)[16:24] == b"\0\0\0\x02\0\0\0\x01"
    assert masked_picture(io.BytesIO(bytes(4 * 20_000)), 20_000)[20:24] == (100).to_bytes(4, "big")


def test_a_program_changes_the_same(folder: Path) -> None:
    app, role = made(folder)
    browser = owner(app, URL)
    headers = {"X-CSRF-Token": Page.of(browser.get("/privacy")).csrf(), "Accept": "application/json"}
    floors = {"k_min": 9, "accept_demo": True, "answers_per_day": 4, "r_max_percent": 0}
    assert browser.put("/api/v1/floors", json=floors, headers=headers).json() == floors | {
        "paused": False,
        "left": False,
        "forget": False,
        "excluded": [],
        "trusted": [],
    }
    assert browser.put("/api/v1/paused", json={"on": True}, headers=headers).json()["paused"] is True
    assert browser.put("/api/v1/left", json={"on": True}, headers=headers).json()["left"] is True
    allowed = browser.put("/api/v1/allowed", json={"names": ["softmax"]}, headers=headers).json()
    excluded = ["efficientnet-lite0", "efficientnet-lite0-levels", "analytic", "prototypes"]
    assert allowed["excluded"] == excluded
    trust = {"name": "mine", "sha256": "AB" * 32}
    trusted = [{"name": "mine", "sha256": "ab" * 32}]
    assert browser.put("/api/v1/trusted", json=trust, headers=headers).json()["trusted"] == trusted
    assert browser.put("/api/v1/trusted", json=trust | {"sha256": "ab"}, headers=headers).status_code == 400
    kept = {"paused": True, "left": True, "forget": False, "excluded": excluded, "trusted": trusted}
    assert browser.get("/api/v1/wishes").json() == floors | kept
    for wrong in (floors | {"k_min": 1}, floors | {"k_min": "9"}, floors | {"r_max_percent": 35}, {"k_min": 9}):
        assert 400 <= browser.put("/api/v1/floors", json=wrong, headers=headers).status_code < 500
    assert browser.put("/api/v1/floors", json=floors | {"k_min": 3}).status_code == 403
    assert role.rounds.wishes.kept.k_min == 9
    role.stop()
