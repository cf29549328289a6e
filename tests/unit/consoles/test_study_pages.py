"""The pages of studies: the form, what is refused, the list, one study, and several beside the live fleet."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from benchmarks.stores.studies import ROUNDS, STUDIES, fill_studies
from fanlight.consoles import study_form
from fanlight.consoles.study_form import ALGORITHM, ATTACK, DATA, FORM, HEAD, PARTITION, WORLD
from fanlight.services.http.headers import closed_document
from fanlight.services.main_server.app import STUDIES_FOLDER, MainServerParts
from fanlight.services.main_server.studies.fleet import like_the_fleet, measured
from fanlight.services.main_server.studies.permitted import permitted
from fanlight.simulation.report import STYLE
from fanlight.simulation.study import Study
from tests.unit.consoles.federation import Page, owner
from tests.unit.main_server.past import BETTER, RECEIVED, add_member, add_round, measure, server

API = "/api/v1/studies"


@pytest.fixture
def parts_and_browser(tmp_path: Path) -> tuple[MainServerParts, TestClient]:
    app, parts = server(tmp_path / "federation", demo=True)
    return parts, owner(app)


@pytest.fixture
def full(parts_and_browser: tuple[MainServerParts, TestClient], tmp_path: Path) -> TestClient:
    fill_studies(tmp_path / "federation" / "main" / STUDIES_FOLDER)
    return parts_and_browser[1]


def started(parts: MainServerParts, browser: TestClient, monkeypatch: pytest.MonkeyPatch, **typed: str) -> Study:
    """What a form starts; its process is not of interest here."""
    monkeypatch.setattr(type(parts.studies), "_work_on", lambda _studies: None)
    answer = browser.post("/studies", data={"csrf": Page.of(browser.get("/studies")).csrf(), **typed})
    assert answer.status_code == 303, Page.of(answer).text
    number = int(answer.headers["location"].removeprefix("/studies/"))
    return Study.of(parts.studies.one(number).study)


def test_a_form_as_it_comes_starts_a_study_that_is_like_the_fleet(
    parts_and_browser: tuple[MainServerParts, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, browser = parts_and_browser
    for number in range(1, 8):
        add_member(parts, number)
    parts.service.change_policy(shards="always")
    parts.service.change_algorithm(name="fedprox", parameters={"mu": 0.25}, combine="median")
    page = Page.of(browser.get("/studies"))
    values = {field["name"]: field.get("value", "") for field in page.all("input") if field["name"] != "csrf"}
    assert (values["devices"], values["options"]) == ("7", "mu=0.25,combine=median")
    study = started(parts, browser, monkeypatch, **values, algorithm="fedprox")
    assert study == permitted(like_the_fleet(parts.service))
    assert (study.combine, study.made_algorithm.is_plain_on_devices) == ("median", False)
    assert study.training.learning_rate == parts.service.task.training.learning_rate


def test_what_belongs_to_the_fleet_s_size_follows_that_of_the_study(
    parts_and_browser: tuple[MainServerParts, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, _browser = parts_and_browser
    parts.service.change_policy(min_class_supporters=5, shards="always")
    parts.service.change_algorithm(name="fedavg", parameters={}, combine="median")
    few = started(*parts_and_browser, monkeypatch, devices="4")
    assert (few.shards, few.supporters) == (2, 4)
    mean = started(*parts_and_browser, monkeypatch, devices="4", options="")
    assert (mean.shards, mean.combine) == (0, "mean")
    told = started(*parts_and_browser, monkeypatch, devices="40", toml="devices = 4\nsupporters = 2")
    assert (told.shards, told.supporters) == (2, 2)


def test_every_choice_of_the_form_can_be_run() -> None:
    for choice in (DATA, PARTITION, WORLD, HEAD, ALGORITHM):
        for value, _words in choice.options:
            permitted({choice.name: value, "devices": 20, "cohort": 5})  # without one there is no FedBuff
    for name, _words in ATTACK.options:
        permitted({"attack": f"{name}:0.1" if name else ""})


def test_what_if_a_third_of_my_devices_sleep_at_night(
    parts_and_browser: tuple[MainServerParts, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    (value,) = [value for value, words in WORLD.options if words == "a third sleep at night"]
    study = started(*parts_and_browser, monkeypatch, world=value, attack="sign-flip", attackers="20")
    assert study.made_world.present(1, 3 * 3600.0).sum() < study.devices
    assert study.attack == "sign-flip:0.2"


def test_toml_wins_over_the_choices(
    parts_and_browser: tuple[MainServerParts, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = 'partition = "iid+rotation:30"\r\nbaselines = true\r\n[training]\r\nmomentum = 0.5\r\n'
    study = started(*parts_and_browser, monkeypatch, partition="iid", epochs="2", toml=toml)
    assert (study.partition, study.baselines) == ("iid+rotation:30", True)
    assert (study.training.momentum, study.training.epochs) == (0.5, 2)


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"devices": "many"}, "devices", "A whole number: 1 to 5,000."),
        ({"rounds": "1001"}, "rounds", "A whole number: 1 to 1,000."),
        ({"learning_rate": "0"}, "learning_rate", "A number: above 0, at most 10."),
        ({"options": "mu=1"}, None, "FedAvg takes no parameters"),
        ({"cohort": "300", "devices": "20"}, None, "a cohort of 300 of 20 devices"),
        ({"dataset": "mine"}, None, "There is no data set 'mine' here."),
        ({"toml": "not toml"}, None, "TOML:"),
        ({"toml": "colour = 1"}, None, "colour"),
        ({"toml": 'partition = "file:/etc/passwd"'}, None, "a study at a server reads no file"),
    ],
)
def test_what_is_wrong_is_said_where_it_was_typed(
    parts_and_browser: tuple[MainServerParts, TestClient], typed: dict[str, str], field: str | None, said: str
) -> None:
    parts, browser = parts_and_browser
    answer = browser.post("/studies", data={"csrf": Page.of(browser.get("/studies")).csrf(), **typed})
    page = Page.of(answer)
    assert answer.status_code == 400
    assert said in page.text
    assert "Nothing was started." in page.text
    marked = [item["name"] for item in page.all("input") if item.get("aria-invalid") == "true"]
    assert marked == ([field] if field else [])
    for name, text in typed.items():
        shown = [item.get("value") for item in page.all("input") if item["name"] == name]
        assert shown == [text] or name in ("toml", "dataset"), "what was typed stays"
    assert parts.studies.all() == []


def test_the_list_leads_to_each_and_to_a_comparison(full: TestClient) -> None:
    page = Page.of(full.get("/studies"))
    assert f"{STUDIES} studies" in page.text
    assert {f"/studies/{number}" for number in range(1, STUDIES + 1)} <= {link["href"] for link in page.all("a")}
    assert ("/studies/compare", {"study"}) in page.forms()
    assert "on the disk" in page.text


def test_one_study_has_its_curves_as_drawings_and_figures_as_text(full: TestClient) -> None:
    page = Page.of(full.get("/studies/3"))
    assert len([svg for svg in page.all("svg") if svg.get("role") == "img"]) == 2
    assert f"{ROUNDS} of {ROUNDS}" in page.text
    assert "finished" in page.text
    assert [action for action, _fields in page.forms() if action.startswith("/studies/")] == ["/studies/3/remove"]
    assert f"{API}/3/study" in [link["href"] for link in page.all("a")]


def test_a_removed_one_is_gone(full: TestClient) -> None:
    csrf = Page.of(full.get("/studies/3")).csrf()
    assert full.post("/studies/3/remove", data={"csrf": csrf}).headers["location"] == "/studies"
    assert full.get("/studies/3").status_code == 404
    assert full.delete(f"{API}/4", headers={"X-CSRF-Token": csrf}).status_code == 204
    assert full.get("/studies/4").status_code == 404


def test_several_are_named_by_what_tells_them_apart_and_the_fleet_is_a_curve_too(
    full: TestClient, parts_and_browser: tuple[MainServerParts, TestClient]
) -> None:
    parts, _browser = parts_and_browser
    for number, matrix in ((1, RECEIVED), (2, BETTER)):
        add_round(parts, number)
        measure(parts, number, matrix)
    both = Page.of(full.get("/studies/compare?study=1&study=2&study=2&fleet=true"))
    assert "1: seed 1" in both.text
    assert "2: seed 2" in both.text
    assert len(re.findall("live fleet from 0.6", both.text)) == 1, "only by rounds: nobody counts its bytes so"
    assert measured(parts.service)[0] == {
        "round": 0,
        "accuracy": pytest.approx(2 / 3),
        "balanced_accuracy": pytest.approx(2 / 3),
        "loss": pytest.approx(0.2),
    }
    alone = Page.of(full.get("/studies/compare?study=1&study=2"))
    assert "live fleet from" not in alone.text
    many = "&".join(f"study={number}" for number in range(1, STUDIES + 1))
    assert "are left out" in Page.of(full.get(f"/studies/compare?{many}")).text


def test_nothing_to_compare_says_so(full: TestClient) -> None:
    assert "Nothing to compare yet." in Page.of(full.get("/studies/compare")).text
    assert full.get("/studies/compare?study=99").status_code == 404


def test_the_api_says_what_the_pages_say(full: TestClient) -> None:
    listed = full.get(API).json()
    assert [run["number"] for run in listed["studies"]] == list(range(STUDIES, 0, -1))
    assert permitted(listed["like_the_fleet"]).algorithm == "fedavg"
    one: dict[str, Any] = full.get(f"{API}/2").json()
    assert (len(one["rounds"]), one["rounds_done"], one["state"]) == (ROUNDS, ROUNDS, "finished")
    assert one["accuracy"] == one["rounds"][-1]["accuracy"]
    assert full.get(f"{API}/2/result").status_code == 404


def test_the_report_is_a_closed_document_and_the_rest_is_saved(full: TestClient, tmp_path: Path) -> None:
    folder = tmp_path / "federation" / "main" / STUDIES_FOLDER / "1"
    (folder / "report.html").write_text("<style></style><script>1</script>")
    (folder / "result.json").write_text(json.dumps({"pooled": None, "local_only": None}))
    report = full.get(f"{API}/1/report")
    assert report.headers["content-security-policy"] == closed_document(STYLE)
    assert report.headers["content-security-policy"].startswith("sandbox; default-src 'none'; style-src 'sha256-")
    assert report.headers["x-content-type-options"] == "nosniff"
    for name, kind in (("result", "application/json"), ("study", "text/plain; charset=utf-8")):
        saved = full.get(f"{API}/1/{name}")
        assert saved.headers["content-type"] == kind
        assert saved.headers["content-disposition"].startswith("attachment; ")
    assert "Report" in Page.of(full.get("/studies/1")).text


def test_each_field_of_the_form_has_a_label_of_its_own() -> None:
    labels = [field.label for field in FORM]
    assert len(set(labels)) == len(labels) == 13
    assert study_form.NUMBERS
