"""A device's gallery: put in, choose, label, take back; all by forms."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from fanlight import __version__
from fanlight.consoles import device as device_pages
from fanlight.services.device.app import create_app
from fanlight.services.device.library.records import Filter, State
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from fanlight.services.http.jobs import Job
from tests.unit.consoles.federation import LONG, RIGHT_TO_LEFT, SCRIPT, Page, device, make_folder, owner, stranger
from tests.unit.consoles.joined_device import joined_device
from tests.unit.device.federation import NOW, FakeFederation, draw_pictures, first_model
from tests.unit.device.joined import done, turn

URL = "http://localhost:8001"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, DeviceRole]]:
    """A device with a model and ten labelled pictures, and its owner's browser."""
    federation = FakeFederation(tmp_path / "federation", model=first_model(version=1), version=1)
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
    assert "There are no pictures yet." in text
    assert "Suggest labels" not in text
    assert f"Fanlight {__version__}." in text


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
    assert answer.headers["location"] == "/pictures?state=unlabelled&did=assign&count=2&to=dark#told"
    assert "2 pictures labelled “dark”." in Page.of(browser.get(answer.headers["location"])).text
    assert role.library.picture(new[0]).label == "dark"
    press(browser, do="undo")
    assert set(ids(role, State.UNLABELLED)) == set(new)
    press(browser, do="unusable", picture=new[:1])
    press(browser, do="delete", picture=new[1:])
    assert (ids(role, State.NOT_USABLE), ids(role, State.DELETED)) == (new[:1], new[1:])


def test_undo_says_before_and_after_what_it_takes_back(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    some = ids(role, State.LABELLED)[:2]
    undo = next(button for button in Page.of(browser.get("/pictures")).all("button") if button.get("value") == "undo")
    assert "disabled" in undo
    press(browser, picture=some, do="delete")
    assert "Undo: 2 pictures deleted" in " ".join(Page.of(browser.get("/pictures")).text.split())
    there = press(browser, do="undo").headers["location"]
    assert "Undone: 2 pictures deleted." in " ".join(Page.of(browser.get(there)).text.split())
    assert "Nothing to undo." in Page.of(browser.get(press(browser, do="undo").headers["location"])).text


@pytest.mark.parametrize(
    "fields", [{"assign": "dark"}, {"do": "delete"}, {"do": "unusable"}, {"do": "confirm"}, {"do": "restore"}]
)
def test_a_button_without_pictures_says_what_is_missing(
    served: tuple[TestClient, DeviceRole], fields: dict[str, str]
) -> None:
    browser, _role = served
    page = Page.of(browser.get(press(browser, **fields).headers["location"]))
    assert "Nothing chosen: tap or click pictures first." in page.text
    assert "note warn" in [element.get("class") for element in page.all("p")]


def test_what_changes_nothing_is_no_success(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    dark = [picture.sha256 for picture in role.library.page(Filter(State.LABELLED, "dark")).pictures]
    page = Page.of(browser.get(press(browser, picture=dark, assign="dark").headers["location"]))
    assert "Nothing changed" in page.text
    assert "note good" not in [element.get("class") for element in page.all("p")]


def test_an_address_makes_the_page_say_nothing_of_its_own(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    for query in ("did=assign&count=3&to=elephant", "did=undo&of=elephant&count=3", "did=assign&count=elephant"):
        assert "elephant" not in Page.of(browser.get(f"/pictures?{query}")).text


def test_a_zip_is_put_in_with_a_label(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside/x.png", png(5))
    before = set(ids(role, State.LABELLED))
    assert (
        "1 picture put in: 1 bright." in Page.of(put_in(browser, ("all.ZIP", packed.getvalue()), label="bright")).text
    )
    added = set(ids(role, State.LABELLED)) - before
    assert {role.library.picture(sha256).label for sha256 in added} == {"bright"}
    assert len(added) == 1


def test_suggestions_of_an_earlier_version_are_said_to_be_so_and_made_anew(tmp_path: Path) -> None:
    federation = FakeFederation(tmp_path / "federation", model=first_model(version=1), version=1)
    browser, role = joined_device(federation, tmp_path)
    turn(role)
    role.library.refresh()

    def text() -> str:
        return Page.of(browser.get("/pictures?state=suggested")).text

    assert "Suggest labels" not in text(), "no picture waits"
    put_in(browser, ("a.png", png(1)), ("b.png", png(2)))
    assert "Suggest labels" in text()
    press(browser, do="suggest")
    done(role, latest(role))
    assert "Suggest labels" not in text(), "all were asked about"
    federation.publish(first_model(version=2, bias=0.5))
    turn(role)
    assert role.store.held
    assert f"2 suggestions are from another version; version {role.store.held.version} is here." in text()
    assert "Suggest again" in text()
    press(browser, do="suggest")
    done(role, latest(role))
    assert "another version" not in text()
    assert "Suggest again" not in text()
    federation.model, federation.version = first_model(version=0), 0  # the operator went back
    turn(role)
    assert "2 suggestions are from another version; version 0 is here, which has learned nothing yet." in text()
    assert "Suggest again" not in text(), "it would only guess"
    role.stop()


def latest(role: DeviceRole) -> Job:
    job = role.jobs.latest("suggest")
    assert job
    return job


def test_labels_that_differ_in_a_group_of_pictures_alike_are_said(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    put_in(browser, ("a.png", png(1)), label="dark")
    assert "different labels" not in Page.of(browser.get("/pictures?problem=duplicates")).text
    image = Image.open(io.BytesIO(png(1))).resize((60, 60))
    file = io.BytesIO()
    image.save(file, "PNG")
    put_in(browser, ("b.png", file.getvalue()), label="bright")
    text = " ".join(Page.of(browser.get("/pictures?problem=duplicates")).text.split())
    assert "2 pictures alike They have different labels: bright, dark. Is one of them wrong?" in text


def test_suggestions_are_confirmed_with_one_button(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    put_in(browser, ("a.png", png(1)), ("b.png", png(2)))
    press(browser, "?state=suggested", do="suggest")
    done(role, latest(role))
    page = Page.of(browser.get("/pictures?state=suggested"))
    (first, second) = [button["value"] for button in page.all("button") if button.get("name") == "right"]
    press(browser, "?state=suggested", right=first)
    assert ids(role, State.SUGGESTED) == [second]
    assert role.library.picture(first).state == State.LABELLED
    press(browser, do="confirm", picture=[second])
    assert not ids(role, State.SUGGESTED)


def test_a_name_that_no_class_can_have_is_said_beside_its_form(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    browser.headers["Accept"] = "text/html"
    answer = press(browser, do="propose", name="cats/<b>")
    page = Page.of(answer)
    assert answer.status_code == 422
    assert "The class 'cats/<b>' cannot name a folder. Choose a name without / or \\" in page.text
    assert "Ask the operator" not in page.text
    assert [found["id"] for found in page.all("input") if found.get("name") == "name"] == ["new-class"]


def test_what_cannot_be_done_is_said(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    assert "No picture was chosen." in put_in(browser).text
    assert "no-such-button" in press(browser, do="burn").text
    assert "unknown-class" in press(browser, picture="00", assign="elephant").text
    for path in ("/pictures/add", "/pictures/change"):
        assert browser.get(path).headers["location"] == "/pictures"
    assert "7 apples" not in browser.get("/pictures?did=apples&count=7").text


def test_pictures_without_a_label_are_what_a_new_device_begins_with(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "federation")
    browser = owner(device(folder), URL)
    (folder / "pictures" / "_unlabelled").mkdir()
    (folder / "pictures" / "_unlabelled" / "1.png").write_bytes(png(1))
    text = Page.of(browser.get("/pictures")).text
    assert "Say what your first pictures show." in text
    assert "wait for the first model" in text


def test_a_device_that_has_classes_says_how_to_give_the_first_labels(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    (role.settings.data / "bright").rename(role.settings.data / "_unlabelled")
    shutil.rmtree(role.settings.data / "dark")
    text = Page.of(browser.get("/pictures")).text
    assert "Say what your first pictures show." in text
    assert "press the button of their class" in text


def test_an_upload_by_folders_says_what_became_of_it(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    files = [("x/dark/a.png", png(1)), ("x/holiday/b.png", png(2)), ("c.png", png(3)), ("x/dark/d.png", b"no")]
    text = " ".join(Page.of(put_in(browser, *files, label="/")).text.split())
    assert "3 pictures put in: 1 dark." in text
    assert "2 have no label yet." in text
    assert "No class is called like their folder: 1 holiday, 1 no folder." in text
    assert "1 file was not taken:" in text
    assert role.library.counts().labels == {"bright": 5, "dark": 6}


def test_an_upload_in_several_requests_is_told_as_one(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    page = Page.of(browser.get("/pictures"))
    fields = {
        name: next(box["value"] for box in page.all("input") if box.get("name") == name) for name in ("csrf", "upload")
    }
    for number in range(3):
        sent = [("files", (f"{number}.png", png(number + 1), "image/png"))]
        answer = browser.post("/pictures/add", data=fields, files=sent, headers={"Accept": "application/json"})
        assert (answer.status_code, answer.json()["count"]) == (201, number + 1)
    assert "3 pictures put in." in Page.of(browser.get(answer.json()["show"])).text
    assert "put in." not in Page.of(browser.get("/pictures?added=" + "0" * 32)).text


def test_too_many_files_at_once_are_refused_in_words(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    answer = put_in(browser, *((f"{number}.png", b"") for number in range(5001)))
    assert answer.status_code == 422
    assert "These are more than 5,000 files at once." in Page.of(answer).text
    answer = put_in(browser, *((f"{number}.png", b"") for number in range(1200)))
    assert "1,200 files were not taken:" in Page.of(answer).text
    assert role.library.page().total == 10


def words(answer: Any) -> str:
    return " ".join(Page.of(answer).text.split())


def test_pictures_that_are_there_get_the_label_that_is_said(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    some = [(f"{number}.png", png(number + 1)) for number in range(4)]
    assert "4 pictures put in." in words(put_in(browser, *some))
    assert "4 of them have no label yet: see Not labelled." in words(put_in(browser, *some))
    text = words(put_in(browser, some[0], label="dark"))
    assert "No picture was put in. 1 picture was there already; it now has the label dark." in text
    answer = put_in(browser, *some, label="bright")
    assert "4 pictures were there already; 3 of them now have the label bright." in words(answer)
    assert "1 keeps another label: 1 dark." in words(answer)
    assert "/pictures?state=labelled&label=dark" in [link["href"] for link in Page.of(answer).all("a")]
    assert "state=labelled&label=bright" in str(answer.request.url), "it shows them"
    assert role.library.counts().labels == {"bright": 8, "dark": 6}
    press(browser, do="undo")
    assert role.library.counts().labels == {"bright": 5, "dark": 6}


def test_an_upload_in_several_requests_gives_labels_in_one_operation(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    some = [(f"{number}.png", png(number + 1)) for number in range(3)]
    put_in(browser, *some)
    for one in some:
        answer = put_in(browser, one, label="dark", upload="ab" * 16)
    assert "3 pictures were there already; 3 of them now have the label dark." in words(answer)
    press(browser, do="undo")
    assert role.library.counts().labels == {"bright": 5, "dark": 5}


def test_folders_in_a_zip_that_are_named_like_classes_are_asked_about(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, folder in enumerate(("dark", "Dark", "bright", "holiday")):
            archive.writestr(f"photos/{folder}/{number}.png", png(number + 1))
    answer = put_in(browser, ("all.zip", packed.getvalue()))
    assert "4 pictures put in." in words(answer)
    assert "Folders in the ZIP file are named like classes: 1 bright, 2 dark. Do their pictures show that?" in words(
        answer
    )
    page = Page.of(answer)
    assert "/pictures/change?state=labelled" in [form["action"] for form in page.all("form")]
    upload = next(box["value"] for box in page.all("input") if box.get("name") == "upload")
    done = press(browser, "?state=labelled", do="as-said", upload=upload)
    there = browser.get(done.headers["location"])
    assert "3 pictures labelled. 1 to go." in words(there)
    assert role.library.counts().labels == {"bright": 6, "dark": 7}
    assert "Label them so" not in words(browser.get(str(answer.request.url))), "there is nothing left to be labelled"
    press(browser, do="undo")
    assert role.library.counts().labels == {"bright": 5, "dark": 5}
    assert "upload-forgotten" in press(browser, do="as-said", upload="0" * 32).text


def test_files_that_are_not_taken_are_told_by_reason_with_what_to_do(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    cut = [(f"cut-{number}.png", png(number + 1)[:120]) for number in range(2)]
    text = " ".join(
        Page.of(put_in(browser, *cut, ("IMG_1.heic", heic), ("all.zip", b"no"), ("a.txt", b"no"))).text.split()
    )
    assert "5 files were not taken:" in text
    assert "cut-0.png, cut-1.png: damaged, or a part of it is missing. Copy the picture again, or remove it." in text
    assert "IMG_1.heic: a HEIC picture, a kind that is not read. Save it as JPEG." in text
    assert "a.txt: not a picture of a kind that is read (JPEG, PNG," in text
    assert "Save it as JPEG or PNG, or remove it." in text
    assert "all.zip: The ZIP file is damaged, or is none. Pack it again, or add the pictures themselves." in text


@pytest.mark.parametrize("path", ["/pictures/add", "/learning/try"])
def test_where_no_file_was_chosen_nobody_is_sent_back_who_is_there(
    served: tuple[TestClient, DeviceRole], path: str
) -> None:
    browser, _role = served
    csrf = Page.of(browser.get("/pictures")).csrf()
    error = browser.post(path, data={"csrf": csrf}, headers={"Accept": "application/json"}).json()["error"]
    assert error["message"] == "No picture was chosen."
    assert error["next"].startswith("Choose ")


def test_a_picture_has_a_page_and_leads_to_the_next(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    first, second, *_rest = shown = [p.sha256 for p in role.library.page(Filter(State.LABELLED, "dark")).pictures]
    view = "?state=labelled&label=dark"
    page = Page.of(browser.get(f"/pictures/{first}{view}"))
    for text in ("1 of 5", "32 × 32", "Ask the model"):
        assert text in page.text
    assert f"/pictures/{second}{view}" in [link["href"] for link in page.all("a")]

    def pressed(sha256: str, **fields: str) -> str:
        data = {"csrf": page.csrf(), "picture": sha256, **fields}
        return str(browser.post(f"/pictures/{sha256}/change{view}", data=data).headers["location"])

    assert pressed(first, assign="dark") == f"/pictures/{first}{view}&did=assign&count=0&to=dark"
    there = pressed(first, assign="bright")
    assert there == f"/pictures/{second}{view}&did=assign&count=1&to=bright&before={first}"
    undo = next(form for form, _fields in Page.of(browser.get(there)).forms() if "before" in form)
    back = browser.post(undo, data={"csrf": page.csrf(), "do": "undo"}).headers["location"]
    assert back == f"/pictures/{first}{view}&did=undo&of=assign&count=1&to=bright"
    for sha256 in shown:
        there = pressed(sha256, do="unusable")
    assert there == f"/pictures{view}&did=unusable&count=1"
    assert browser.get(f"/pictures/{first}/ask").headers["location"] == f"/pictures/{first}"


def test_the_models_are_asked_about_a_picture(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    sha256 = ids(role, State.LABELLED)[0]
    page = Page.of(browser.get(f"/pictures/{sha256}"))
    assert "Ask the model" in page.text
    answer = Page.of(browser.post(f"/pictures/{sha256}/ask", data={"csrf": page.csrf()}))
    assert "The global model:" in answer.text
    done(role, role.steps.train())
    assert "This device's own model" in Page.of(browser.get(f"/pictures/{sha256}")).text


def test_a_picture_that_is_none_is_not_found(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    for path in ("0" * 64, "..%2f..%2fapi-token", "x" * 10_000, "0" * 64 + "/change"):
        assert browser.get(f"/pictures/{path}").status_code == 404, path[:80]
    for query in ("cell=own", "cell=own-1", "cell=../../x-1-1", "before=../../x"):
        assert browser.get(f"/pictures/{'0' * 64}?{query}").status_code in (400, 404)


def test_the_bin_gives_back_and_is_emptied_after_a_question(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    some = ids(role, State.LABELLED)[:3]
    press(browser, do="delete", picture=some)
    page = Page.of(browser.get("/pictures?state=deleted"))
    assert "Delete 3 pictures for good" in page.text
    assert "empty" not in [button.get("value") for button in Page.of(browser.get("/pictures")).all("button")]
    press(browser, do="restore", picture=some[:1])
    assert role.library.picture(some[0]).state == State.LABELLED
    answer = press(browser, "?state=deleted", do="empty")
    assert "2 files deleted for good." in Page.of(browser.get(answer.headers["location"])).text
    assert browser.get(f"/pictures/{some[1]}").status_code == 404
    assert not list((role.settings.data / "_deleted").iterdir())


HOSTILE_NAMES = (
    '"><img src=x onerror=alert(1)>',
    RIGHT_TO_LEFT,
    "{{ 7*7 }}",
    "a\r\nSet-Cookie: x=1\n",
    "../../../etc/passwd",
    "C:\\Windows\\system32",
    "a\x00b",
    LONG,
)


@pytest.mark.parametrize("label", ["", "/"])
def test_hostile_names_in_uploads_are_text_and_no_path(served: tuple[TestClient, DeviceRole], label: str) -> None:
    browser, role = served
    outside = sorted(role.settings.data.parent.iterdir())
    pages = []
    for number, name in enumerate(HOSTILE_NAMES):
        files = ((f"{name}.png", png(number)), (f"{name}.txt", b"no picture"), (f"{name}/in.png", png(number + 10)))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"{name}/z.png", png(number + 20))
        answer = put_in(browser, *files, ("all.zip", packed.getvalue()), label=label)
        assert "set-cookie" not in answer.headers
        pages.append(Page.of(answer))
    assert "Does a file have a name of thousands of characters?" in pages[-1].text
    pages.append(Page.of(put_in(browser, ("all.zip", packed.getvalue()), label=label)))
    new = role.library.page(Filter(State.UNLABELLED)).pictures
    assert len(new) == 3 * len(HOSTILE_NAMES) - 2
    pages += [Page.of(browser.get(f"/pictures/{picture.sha256}")) for picture in new]
    for page in pages:
        assert not any(key.startswith("on") or key == "style" for _, attributes in page.elements for key in attributes)
        assert all(image["src"].startswith(("/pictures/", "/static/")) for image in page.all("img"))
    assert sorted(role.settings.data.parent.iterdir()) == outside
    assert {path.name for path in role.settings.data.iterdir()} == {"bright", "dark", "_unlabelled"}
    assert all(len(path.name) <= 120 for path in role.settings.data.rglob("*"))


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
