"""A device's gallery: put in, choose, label, take back; all by forms."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from fanlight.consoles import device as device_pages
from fanlight.services.device.app import create_app
from fanlight.services.device.library.records import Filter, State
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from tests.unit.consoles.federation import SCRIPT, Page, device, make_folder, owner, stranger
from tests.unit.device.federation import NOW, FakeFederation, draw_pictures
from tests.unit.device.joined import turn

URL = "http://localhost:8001"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, DeviceRole]]:
    """A device with a model and ten labelled pictures, and its owner's browser."""
    federation = FakeFederation(tmp_path / "federation")
    token = issue_token_file(federation.folder, "porch", NOW + 1000)
    settings = DeviceSettings(
        token=token, state=tmp_path / "state", data=draw_pictures(tmp_path / "data"), accept_demo=True, port=8001
    )
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 0.0, sleep=lambda _s: None)
    app, role = create_app(settings, chances=chances, transport=federation.transport)
    device_pages.install(app, role)
    turn(role)
    role.library.refresh()
    yield owner(app, URL), role
    role.stop()


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((80, 80)).rotate(level * 17).save(file, "PNG")
    return file.getvalue()


def put_in(browser: TestClient, *files: tuple[str, bytes], **fields: str) -> Any:
    csrf = Page.of(browser.get("/pictures")).csrf()
    sent = [("files", (name, data, "image/png")) for name, data in files]
    answer = browser.post("/pictures/add", data={"csrf": csrf, **fields}, files=sent)
    return browser.get(answer.headers["location"]) if answer.status_code == 303 else answer


def press(browser: TestClient, view: str = "", **fields: str | list[str]) -> Any:
    csrf = Page.of(browser.get("/pictures")).csrf()
    return browser.post(f"/pictures/change{view}", data={"csrf": csrf, **fields})


def ids(role: DeviceRole, state: State) -> list[str]:
    return [picture.sha256 for picture in role.library.page(Filter(state)).pictures]


def test_it_is_the_owners_alone(tmp_path: Path) -> None:
    app = device(make_folder(tmp_path / "federation"))
    assert stranger(app, URL).get("/pictures").headers["location"].startswith("/login")
    assert stranger(app, URL).post("/pictures/change", data={"do": "undo"}).status_code == 303
    browser = owner(app, URL)
    assert browser.post("/pictures/change", data={"do": "undo"}).status_code == 403
    too_long = {"Content-Length": str(1 << 40), "Content-Type": "multipart/form-data; boundary=x"}
    assert browser.post("/pictures/add", content=b"", headers=too_long).status_code == 413


def test_an_empty_device_says_how_to_begin(tmp_path: Path) -> None:
    text = Page.of(owner(device(make_folder(tmp_path / "federation")), URL).get("/pictures")).text
    assert "Put your first pictures in." in text
    assert "There is no model yet." in text


def test_filters_show_what_they_say(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    for view, count in (("", 10), ("?state=labelled&label=dark", 5), ("?state=unlabelled", 0), ("?page=7", 10)):
        page = Page.of(browser.get(f"/pictures{view}"))
        assert sum(box.get("name") == "picture" for box in page.all("input")) == count
    assert browser.get("/pictures?state=burnt").status_code == 400
    assert "dark has only 5 pictures" in Page.of(browser.get("/pictures")).text
    assert ids(role, State.LABELLED)[0] in browser.get("/pictures").text


def test_pictures_are_put_in_and_labelled_and_taken_back(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    text = Page.of(put_in(browser, ("a.png", png(1)), ("b.png", png(2)), ("same.png", png(1)), ("c.png", b"no"))).text
    assert "2 pictures put in." in text
    assert "1 picture was there already." in text
    assert "1 file was not taken:" in text
    new = ids(role, State.UNLABELLED)
    answer = press(browser, "?state=unlabelled", picture=new, assign="dark")
    assert answer.headers["location"] == "/pictures?state=unlabelled&did=assign&count=2"
    assert "2 pictures labelled." in Page.of(browser.get(answer.headers["location"])).text
    assert role.library.picture(new[0]).label == "dark"
    press(browser, do="undo")
    assert set(ids(role, State.UNLABELLED)) == set(new)
    press(browser, do="unusable", picture=new[:1])
    press(browser, do="delete", picture=new[1:])
    assert (ids(role, State.NOT_USABLE), ids(role, State.DELETED)) == (new[:1], new[1:])


def test_a_zip_is_put_in_with_a_label(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside/x.png", png(5))
    before = set(ids(role, State.LABELLED))
    assert "1 picture put in: 1 bright." in Page.of(put_in(browser, ("all.ZIP", packed.getvalue()), label="bright")).text
    added = set(ids(role, State.LABELLED)) - before
    assert {role.library.picture(sha256).label for sha256 in added} == {"bright"}
    assert len(added) == 1


def test_suggestions_are_confirmed_with_one_button(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    put_in(browser, ("a.png", png(1)), ("b.png", png(2)))
    press(browser, "?state=suggested", do="suggest")
    job = role.jobs.latest("suggest")
    assert job
    assert role.jobs.wait(job.id, 60).state == "done"
    page = Page.of(browser.get("/pictures?state=suggested"))
    (first, second) = [button["value"] for button in page.all("button") if button.get("name") == "right"]
    press(browser, "?state=suggested", right=first)
    assert ids(role, State.SUGGESTED) == [second]
    assert role.library.picture(first).state == State.LABELLED
    press(browser, do="confirm", picture=[second])
    assert not ids(role, State.SUGGESTED)


def test_what_cannot_be_done_is_said(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    assert "No picture was chosen." in put_in(browser).text
    assert "no-such-button" in press(browser, do="burn").text
    assert "unknown-class" in press(browser, picture="00", assign="elephant").text
    for path in ("/pictures/add", "/pictures/change"):
        assert browser.get(path).headers["location"] == "/pictures"
    assert "7 apples" not in browser.get("/pictures?did=apples&count=7").text


def test_hostile_file_names_are_only_text(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    text = f"{SCRIPT}.png"
    page = Page.of(put_in(browser, (text, b"no picture"), ("\u202egnp.exe\u202c<b>.png", png(3))))
    assert "<script>alert(1)" in page.text
    (role.settings.data / "_unlabelled" / '"><img src=x onerror=alert(1)>.png').write_bytes(png(9))
    role.library.refresh()
    page = Page.of(browser.get("/pictures?state=unlabelled"))
    assert '"><img src=x onerror=alert(1)>.png' in page.text
    assert not any(key.startswith("on") or key == "style" for _, attributes in page.elements for key in attributes)
    assert all(image["src"].startswith(("/pictures/", "/static/")) for image in page.all("img"))
