"""A device's page of learning: what each model finds, the pictures behind a figure, and "try it"."""

from __future__ import annotations

import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fanlight.consoles import device_learning
from fanlight.consoles.charts import rounds_chart
from fanlight.consoles.device_learning import class_figures, mixed_up
from fanlight.learning import model_file
from fanlight.learning.heads import SoftmaxHead, zero_head
from fanlight.learning.model_file import HeadModel
from fanlight.protocol.closing import Result
from fanlight.services.device import status as device_status
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.steps import TRAIN
from fanlight.services.device.try_it import TryIt, heat
from fanlight.services.http.jobs import Progress
from tests.unit.consoles.federation import HOSTILE, SCRIPT, Page, device, make_folder, owner, stranger
from tests.unit.consoles.joined_device import URL, joined_device
from tests.unit.consoles.test_device_pages import learning
from tests.unit.device.federation import CLASSES, PLAN, FakeFederation
from tests.unit.device.joined import announced, done, turn


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, DeviceRole]]:
    """A device that has a model, and ten pictures, and its owner's browser."""
    federation = FakeFederation(tmp_path / "federation", plan=PLAN.with_(epochs=40, patience=40))
    browser, role = joined_device(federation, tmp_path)
    turn(role)
    yield browser, role
    role.stop()


def jpeg(level: int = 210, size: tuple[int, int] = (60, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(file, "JPEG")
    return file.getvalue()


def try_it(browser: TestClient, data: bytes, name: str = "new.jpg") -> Any:
    csrf = Page.of(browser.get("/learning")).csrf()
    return browser.post("/learning/try", data={"csrf": csrf}, files={"picture": (name, data, "image/jpeg")})


def test_a_new_device_says_what_comes_next(tmp_path: Path) -> None:
    page = Page.of(owner(device(make_folder(tmp_path / "federation")), URL).get("/learning"))
    assert "Waiting for the first model." in page.text
    assert "Label some on the page Pictures; two of one kind are enough to begin with." in page.text


def test_it_is_the_owners_alone(tmp_path: Path) -> None:
    app = device(make_folder(tmp_path / "federation"))
    for path in ("/learning", "/learning/try", "/learning/pictures?model=own&shows=0&named=0"):
        assert stranger(app, URL).get(path).headers["location"].startswith("/login")
    assert stranger(app, URL).post("/learning/try", data={"csrf": ""}).status_code == 303


@pytest.mark.parametrize("path", ["/", "/learning", "/privacy", "/modeltrain", "/sendstatus", "/sendmodel"])
def test_every_page_says_first_that_there_is_nothing_to_learn_from(
    served: tuple[TestClient, DeviceRole], path: str
) -> None:
    browser, role = served
    for folder in role.pictures.folder.iterdir():
        shutil.rmtree(folder)
    page = Page.of(browser.get(path))
    assert any(link["href"] == "/pictures" for link in page.all("a")[2:])
    guided = path not in ("/learning", "/privacy")
    said = "Put your first pictures in." if guided else "This device has nothing to learn from yet."
    assert said in page.text
    headers = {"X-CSRF-Token": page.csrf(), "Accept": "application/json"}
    refused = browser.post("/modeltrain", headers=headers)
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert error["slug"] == "nothing-to-learn-from"
    assert "Pictures" in error["next"]


def test_a_training_is_seen_while_it_runs_and_afterwards(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    first, go_on = threading.Event(), threading.Event()

    def training(progress: Progress) -> None:
        progress(0.5, "epoch 1 of 2", {"epoch": 1, "train_loss": 0.7, "train_accuracy": 0.5})
        first.set()
        go_on.wait(60)

    job = role.jobs.start(TRAIN, training)
    assert first.wait(60)
    page = Page.of(browser.get("/learning"))
    assert "Learning now" in page.text
    assert "epoch 1 of 2" in page.text
    assert "Learning from your pictures." in Page.of(browser.get("/")).text
    (chart,) = page.all("figure")
    assert json.loads(chart["data-chart"])["x"] == [1]
    go_on.set()
    done(role, job)
    done(role, role.steps.train())
    after = Page.of(browser.get("/learning"))
    assert "Learning now" not in after.text
    assert "How the last training went" in after.text
    assert json.loads(after.all("figure")[0]["data-chart"])["x"][:3] == [1, 2, 3]


def test_before_and_after_stand_side_by_side(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    done(role, role.steps.train())
    response = browser.get("/learning")
    text = Page.of(response).text
    assert "50.0 %" in text
    assert "100.0 %" in text
    assert "+50.0" in text
    assert "model=own&amp;shows=1&amp;named=1" in response.text


def test_a_figure_opens_its_pictures(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    done(role, role.steps.train())
    trying = TryIt(role)
    mixed_up = trying.taken_for("global", 1, 0)
    assert len(mixed_up) == 1
    assert trying.taken_for("own", 1, 1) == mixed_up
    assert trying.taken_for("own", 1, 0) == []
    page = Page.of(browser.get("/learning/pictures?model=global&shows=1&named=0"))
    assert [image["src"] for image in page.all("img") if "thumbnail" in image["src"]] == [
        f"/pictures/{mixed_up[0]}/thumbnail"
    ]
    assert "No such picture is there now." in browser.get("/learning/pictures?model=own&shows=1&named=0").text


@pytest.mark.parametrize("query", ["model=own&shows=0&named=0", "model=global&shows=9&named=0", "model=x&shows=0"])
def test_there_is_no_such_figure(served: tuple[TestClient, DeviceRole], query: str) -> None:
    assert served[0].get(f"/learning/pictures?{query}").status_code in (400, 404)


def test_both_models_say_what_they_see(served: tuple[TestClient, DeviceRole]) -> None:
    browser, role = served
    done(role, role.steps.train())
    own, received = TryIt(role).look(jpeg()).answers
    assert (own.which, own.label, received.which) == ("own", "bright", "global")
    assert own.confidence > 0.6
    assert own.heat is received.heat is None
    page = Page.of(try_it(browser, jpeg(), SCRIPT))
    assert SCRIPT in page.text
    assert page.text.count("sees only 1 × 1 parts of one: too few to show where it looks.") == 2
    assert sum(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img")) == 1


def test_where_a_model_sees_it_glows_unless_it_sees_the_same_everywhere(tmp_path: Path) -> None:
    size = 96
    head = zero_head(PLAN.features, len(PLAN.classes))
    untrained = HeadModel(
        "default", 0, PLAN.classes, PLAN.backbone, PLAN.backbone_hash.hex(), size, head.weight, head.bias
    )
    plan = PLAN.with_(picture_size=size)
    federation = FakeFederation(tmp_path / "federation", plan=plan, model=model_file.encode(untrained))
    browser, role = joined_device(federation, tmp_path)
    turn(role)
    done(role, role.steps.train())
    image = Image.new("RGB", (300, 200), (20, 20, 20))
    image.paste((80, 80, 80), (100, 50, 200, 150))  # the warmest place is warmer than the coldest, but not by much
    file = io.BytesIO()
    image.save(file, "JPEG")
    own, received = TryIt(role).look(file.getvalue()).answers
    assert received.heat is None
    assert received.why_no_heat == "All parts of the picture say much the same to this model."
    assert own.heat
    with Image.open(io.BytesIO(own.heat)) as shown:
        assert shown.size == (384, 256)
        red, _green, blue = np.moveaxis(np.asarray(shown, dtype=np.int64), 2, 0)
    assert (red - blue).max() > 150, "orange, and not merely less grey"
    assert (red - blue).min() < 30
    page = Page.of(try_it(browser, file.getvalue()))
    assert sum(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img")) == 2
    role.stop()


def test_a_picture_that_lay_on_its_side_is_shown_upright(served: tuple[TestClient, DeviceRole]) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 30)).save(file, "JPEG", exif=exif)
    with Image.open(io.BytesIO(TryIt(served[1]).look(file.getvalue()).picture)) as shown:
        assert shown.size == (192, 384)


def test_what_cannot_be_tried_is_said(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    assert "damaged, or a part of it is missing" in try_it(browser, jpeg()[:200]).text
    assert try_it(browser, b"").status_code == 422
    csrf = Page.of(browser.get("/learning")).csrf()
    assert "No picture was chosen." in browser.post("/learning/try", data={"csrf": csrf}).text
    assert browser.post("/learning/try", data={"csrf": "wrong"}).status_code == 403
    too_long = {"Content-Length": str(1 << 30), "Content-Type": "multipart/form-data; boundary=x"}
    assert browser.post("/learning/try", content=b"", headers=too_long).status_code == 413


def test_heat_is_where_the_class_is() -> None:
    weight = np.array([[1, 0], [0, 1]], np.float32)
    places = np.zeros((2, 2, 3), np.float32)
    places[0, 0, 1], places[0, 1, 2], places[1, 1, 0] = 4, 1, 3
    found = heat(places, SoftmaxHead(weight, np.zeros(2, np.float32)), 0)
    assert found.tolist() == [[0, 1, 0], [0, 0, 0.25]]
    same = replace(SoftmaxHead(weight + 7, np.zeros(2, np.float32)))
    assert np.allclose(heat(places, same, 0), found)  # what all classes have in common says nothing
    assert not heat(-places, SoftmaxHead(weight, np.zeros(2, np.float32)), 0)[0, 1]
    even = places.copy()
    even[0] += 36  # all places speak for it, and hardly one more than the other
    assert heat(even, SoftmaxHead(weight, np.zeros(2, np.float32)), 0).max() == pytest.approx(0.175)


def test_classes_are_matched_by_name_and_rounds_become_lines() -> None:
    data = learning()
    for model in ("global", "local"):
        data[model]["metrics"] |= {"total": 4}
        for line in data[model]["metrics"]["per_class"]:
            line["pictures"] = 2
    cat, dog = class_figures(data)
    assert (cat.name, cat.pictures, cat.received, cat.own, dog.change) == ("cat", 2, 0.61, 0.82, None)
    lines: list[dict[str, Any]] = [
        {"round": 3, "received_accuracy": 0.5, "local_accuracy": None},
        {"round": 4, "received_accuracy": None, "local_accuracy": None},
        {"round": 5, "received_accuracy": 1.0, "local_accuracy": 0.9},
    ]
    assert rounds_chart(lines) == {
        "x": [3, 5],
        "x_label": "Round",
        "series": [
            {"label": "Model of all devices, at the start", "scale": "share", "values": [0.5, 1.0]},
            {"label": "Own model, after training", "scale": "share", "values": [None, 0.9]},
        ],
    }
    assert rounds_chart(lines[:2]) is None


def test_where_the_matrix_is_too_large_the_pairs_mixed_up_most_lead_to_their_pictures(
    served: tuple[TestClient, DeviceRole], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, role = served
    done(role, role.steps.train())
    monkeypatch.setattr(device_learning, "MOST_CELLS", 1)
    page = Page.of(browser.get("/learning"))
    assert "There are too many classes for a table of all" in page.text
    assert "None: all test pictures are named rightly." in page.text  # the own model
    (address,) = {link["href"] for link in page.all("a") if "model=global" in link.get("href", "")}
    assert browser.get(address).status_code == 200


def test_after_a_failed_try_the_way_leads_back_to_the_page(served: tuple[TestClient, DeviceRole]) -> None:
    browser, _role = served
    for answer, back in (
        (try_it(browser, b"no picture"), "/learning"),
        (browser.get("/learning/pictures?model=own&shows=0&named=0"), "/learning"),
        (browser.get(f"/pictures/{'0' * 64}"), "/pictures"),
        (browser.get("/nowhere"), "/"),
    ):
        assert answer.status_code >= 400
        assert [link["href"] for link in Page.of(answer).all("a") if link.get("class") == "button"] == [back]


def test_a_round_stands_in_plain_words(tmp_path: Path) -> None:
    federation = FakeFederation(tmp_path / "federation")
    browser, role = joined_device(federation, tmp_path)
    announced(role)
    assert "has trained and announced" in Page.of(browser.get("/sendmodel")).text
    federation.open_round()
    turn(role)
    done(role, role.steps.send())
    assert "arrived, and confirmed" in Page.of(browser.get("/privacy")).text
    federation.end_round(Result.ABANDONED)
    turn(role)
    for path in ("/", "/learning", "/privacy"):
        text = Page.of(browser.get(path)).text
        assert not re.search(r"\b(idle|committed|receipted|ended|abandoned|Preparation|epoch)\b", text), path
    assert "given up" in Page.of(browser.get("/learning")).text
    role.stop()


def test_the_pairs_that_are_mixed_up_most_come_first_and_right_ones_not_at_all() -> None:
    found = mixed_up({"confusion": [[9, 1, 0], [0, 9, 3], [2, 0, 9]]})
    assert [(pair.shows, pair.named, pair.pictures) for pair in found] == [(1, 2, 3), (2, 0, 2), (0, 1, 1)]
    assert not mixed_up(None)
    assert len(mixed_up({"confusion": [[1] * 20] * 20})) == 12


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12].encode("unicode_escape").decode())
def test_hostile_names_are_only_text(
    served: tuple[TestClient, DeviceRole], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    browser, role = served
    done(role, role.steps.train())
    found = device_status.learning(role)
    text = f"{name}{CLASSES[0]}"
    for model in ("global", "local"):
        for line in found[model]["metrics"]["per_class"]:
            line["class"] = text
    monkeypatch.setattr(device_status, "learning", lambda _role, _newest: found | {"classes": [text, text]})
    page = Page.of(browser.get("/learning"))
    assert page.text.count(text) >= 4
    assert all(script.get("src", "").startswith("/static/") for script in page.all("script"))
    assert not any(key.startswith("on") or key == "style" for _, attributes in page.elements for key in attributes)
