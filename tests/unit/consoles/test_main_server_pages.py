"""The main server's pages: every state is drawn, and what they offer is what the server does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fanlight.consoles.main_server import install
from fanlight.protocol.contribution import Measured, Totals
from fanlight.services.http.jobs import Job
from fanlight.services.http.problems import Problem
from fanlight.services.http.steps import StepView
from fanlight.services.main_server import measurements
from fanlight.services.main_server.app import create_app
from fanlight.services.main_server.overview import Overview
from fanlight.services.main_server.records import Records
from fanlight.services.main_server.settings import MainServerSettings
from tests.unit.consoles.federation import HOSTILE, LONG, OUR_SCRIPTS, Page, main_server, make_folder, owner
from tests.unit.main_server.past import add_member, add_round, server

STEPS = {
    "/aggregate_models": "Aggregate Local Models",
    "/send_model_clients": "Send Aggregated Models to Federated Clients",
    "/measure": "Measure",
}
METRICS = {"accuracy": 0.934, "total": 1200, "correct": 1121, "loss": 0.2}


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return main_server(make_folder(tmp_path / "federation"))


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    return owner(app)


def status(**changes: Any) -> dict[str, Any]:
    return {
        "role": "main",
        "federation": "ab" * 32,
        "task": "default",
        "classes": ["cat", "dog"],
        "by_itself": False,
        "demo": False,
        "k_min": 2,
        "members": 2,
        "aggregator_connected": True,
        "round": None,
        "reports": 0,
        "model": {"version": 1, "sha256": "cd" * 32},
        "devices_with_model": 1,
        "finished": False,
        "held": None,
    } | changes


def round_line(number: int = 1, state: str = "complete", **changes: Any) -> dict[str, Any]:
    figures = {"accuracy_before": 0.5, "accuracy_after": 0.93, "balanced_accuracy_before": 0.5}
    return {
        "round": number,
        "kind": "train",
        "state": state,
        "participants": 2,
        **figures,
        "balanced_accuracy_after": 0.92,
        "seconds": 12.5,
        "reason": None,
        "mh": "ef" * 32,
    } | changes


def device_line(name: str = "porch", **changes: Any) -> dict[str, Any]:
    return {
        "device": "12" * 16,
        "name": name,
        "enrolled_at": 1_800_000_000,
        "at_both_servers": True,
        "revoked": False,
        "left": False,
        "present": True,
        "ready": True,
        "has_model": True,
    } | changes


def timeline(*names: str, **changes: Any) -> dict[str, Any]:
    """Round 7 with devices whose reports have arrived."""
    moments = {"model": 90.0, "announced": 104.0, "report": 106.0, "new_model": None}
    row = {"device": "12" * 16, "present": True, "step": "reported", "reason": None, "moments": moments}
    return {
        "round": 7, "kind": "train", "state": "open", "opened_at": 100.0, "judged_at": None, "released_at": None,
        "ended_at": None, "now": 110.0, "abandoning": False, "can_abandon": True, "to_version": None,
        "counts": dict.fromkeys(("devices", "model", "announced", "report", "counted", "new_model"), len(names)),
        "devices": [row | {"name": name} for name in names], "more": 0,
    } | changes  # fmt: skip


def show(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> None:
    """Let the overview and the records say what the test wants."""
    known: dict[str, Any] = {
        "status": status(),
        "progress": [{"version": 1, "metrics": METRICS}],
        "census": dict.fromkeys(("here", "away", "waiting", "revoked", "left"), 0),
        "timeline": None,
        "devices": [device_line()],
    } | parts
    rounds = known.pop("rounds", [round_line()])
    found = {"rounds": rounds, "total": len(rounds), "page": 1, "pages": 1}
    monkeypatch.setattr(Records, "rounds", lambda _self, page=1, size=50: found)
    for name, value in known.items():
        monkeypatch.setattr(Overview, name, lambda _self, number=None, value=value: value)


def test_a_new_server_says_what_to_do_first(browser: TestClient) -> None:
    page = Page.of(browser.get("/"))
    assert "Waiting for devices." in page.text
    assert "fanlight federation token DIR" in page.text
    assert "The secure aggregator is not connected." in page.text
    assert "No round yet." in page.text


def test_the_demonstration_has_its_banner_and_others_have_none(tmp_path: Path) -> None:
    for demo in (True, False):
        browser = owner(main_server(make_folder(tmp_path / str(demo), demo=demo)))
        for path in ("/", "/aggregate_models"):
            text = Page.of(browser.get(path)).text
            assert ("two devices: each can work out the other's update" in text) is demo


@pytest.mark.parametrize(("route", "label"), STEPS.items())
def test_a_step_has_a_page_with_its_button(browser: TestClient, route: str, label: str) -> None:
    response = browser.get(route)
    page = Page.of(response)
    assert f">{label}</button>" in response.text
    assert (route, {"csrf"}) in page.forms()
    assert page.all("h1")


@pytest.mark.parametrize(("route", "label"), STEPS.items())
def test_the_start_page_has_every_button(browser: TestClient, route: str, label: str) -> None:
    response = browser.get("/")
    assert f">{label}</button>" in response.text
    assert (route, {"csrf"}) in Page.of(response).forms()


def test_a_step_that_cannot_be_done_is_disabled_and_says_why(browser: TestClient) -> None:
    response = browser.get("/aggregate_models")
    page = Page.of(response)
    button = next(attributes for attributes in page.all("button") if "aria-describedby" in attributes)
    assert "disabled" in button
    assert any(attributes.get("id") == button["aria-describedby"] for attributes in page.all("div"))
    assert "No round is open." in page.text
    assert "A round opens when enough devices are enrolled" in page.text


def test_a_step_that_can_be_done_is_offered(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = StepView(
        "/aggregate_models", "Aggregate Local Models", "Sums.", True, "2 reports have arrived.", "Publish.", now=True
    )
    show(monkeypatch, steps=[ready])
    page = Page.of(browser.get("/aggregate_models"))
    button = next(attributes for attributes in page.all("button") if attributes.get("class") == "primary")
    assert "disabled" not in button
    assert "2 reports have arrived." in page.text


def test_a_running_step_shows_how_far_it_is(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("0123", "/aggregate_models", "running", 0.25, "Waiting for the secure aggregator")
    show(monkeypatch, steps=[StepView("/aggregate_models", "Aggregate Local Models", "Sums.", True, "", "", (), job)])
    for path in ("/", "/aggregate_models"):
        page = Page.of(browser.get(path))
        assert page.all("progress")[0]["value"] == "0.250"
        assert "Waiting for the secure aggregator" in page.text
        assert any(attributes.get("id") == "job-0123" for attributes in page.all("div"))
        assert any(attributes.get("href") == "/aggregate_models" for attributes in page.all("a"))
        assert "disabled" in next(item for item in page.all("button") if "aria-describedby" in item)


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        (
            Job("1", "k", "failed", problem=Problem(502, "unreachable", "It did not answer.", "Try again.")),
            "Try again.",
        ),
        (Job("1", "k", "done", result={"local_accuracy": 0.875, "mh": "ff"}), "87.5 %"),
        (Job("1", "k", "done", result=None), "Done."),
    ],
)
def test_an_ended_step_shows_how_it_ended(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch, job: Job, shown: str
) -> None:
    show(monkeypatch, steps=[StepView("/aggregate_models", "Aggregate Local Models", "Sums.", True, "", "", (), job)])
    assert shown in Page.of(browser.get("/aggregate_models")).text


@pytest.mark.parametrize("state", ["proposed", "open", "judged", "dismissed", "released", "complete", "failed"])
def test_a_round_is_shown_in_each_state(browser: TestClient, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    line = round_line(7, state, reason="too few" if state == "failed" else None, accuracy_after=None, seconds=None)
    show(monkeypatch, status=status(round=line), rounds=[line])
    page = Page.of(browser.get("/"))
    assert "Round 7" in page.text
    assert ("too few" in page.text) is (state == "failed")


def test_rounds_show_accuracy_before_and_after(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"reason": "all-done", "title": "All rounds are done.", "message": "Version 1 is current."}
    show(monkeypatch, status=status(finished=True, held=held | {"next": "Raise the number (/task).", "until": None}))
    text = Page.of(browser.get("/")).text
    assert "All rounds are done." in text
    assert "Raise the number (Task)." in text
    for figure in ("50.0 %", "93.0 %", "+43.0", "12.5 s"):
        assert figure in text


def test_only_the_last_rounds_are_on_the_overview(tmp_path: Path) -> None:
    app, parts = server(tmp_path / "federation")
    for number in range(1, 9):
        add_round(parts, number)
    page = Page.of(owner(app).get("/"))
    links = [link["href"] for link in page.all("a") if re.fullmatch(r"/rounds/[0-9]+", link["href"])]
    assert set(links) == {f"/rounds/{number}" for number in range(4, 9)}
    assert "All 8 rounds" in page.text


def test_a_measuring_round_tells_of_no_announcements_and_no_new_model(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, told in (("train", True), ("measure", False)):
        show(monkeypatch, timeline=timeline("porch") | {"kind": kind})
        text = Page.of(browser.get("/")).text
        assert ("have announced" in text, "have the new model" in text) == (told, told)
        assert "reports arrived" in text


def test_each_device_stands_in_the_timeline(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = timeline("porch")["devices"][0] | {"name": "shed", "step": "left-out", "reason": "seed-unopenable"}
    drawn = timeline("porch", more=3)
    drawn["devices"].append(left_out)
    show(monkeypatch, timeline=drawn)
    text = " ".join(Page.of(browser.get("/")).text.split())
    assert "has the model before it opened · announced after 4.0 s · report arrived after 6.0 s" in text
    assert "a sealed seed could not be opened" in text
    assert "and 3 more devices" in text


def test_an_open_round_can_be_abandoned_and_the_page_says_what_that_means(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, timeline=timeline("porch"))
    page = Page.of(browser.get("/"))
    assert ("/rounds/7/abandon", {"csrf"}) in page.forms()
    assert "Devices keep what they have trained" in page.text
    show(monkeypatch, timeline=timeline("porch", can_abandon=False))
    assert "/rounds/7/abandon" not in [action for action, _fields in Page.of(browser.get("/")).forms()]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "here"),
        ({"present": False}, "away"),
        ({"revoked": True}, "revoked"),
        ({"left": True}, "left"),
        ({"at_both_servers": False}, "waits for the aggregator"),
    ],
)
def test_devices_are_shown_by_state(
    browser: TestClient, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], shown: str
) -> None:
    show(monkeypatch, devices=[device_line(**changes)])
    assert shown in Page.of(browser.get("/devices")).text


def test_many_devices_are_shown_page_by_page(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [device_line(f"number {index:02}", present=index % 2 == 0) for index in range(60)]
    show(monkeypatch, devices=many)
    first, second = (Page.of(browser.get(f"/devices?page={page}")).text for page in (1, 2))
    assert all("Away: 30" in text for text in (first, second))
    assert "Here: 30" in first
    assert "Here:" not in second
    assert all((device["name"] in first) != (device["name"] in second) for device in many)
    assert "Page 2 of 2" in second


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12].encode("unicode_escape").decode())
def test_hostile_names_are_only_text(browser: TestClient, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain = Page.of(browser.get("/"))
    failed = round_line(2, "failed", reason=name)
    show(
        monkeypatch,
        status=status(task=name, round=failed),
        timeline=timeline(name),
        devices=[device_line(name)],
        rounds=[failed],
        steps=[StepView("/aggregate_models", "Aggregate", name, False, name, name, (("Name", name), (name, "x")))],
    )
    for path in ("/", "/aggregate_models", "/devices"):
        page = Page.of(browser.get(path))
        assert name in page.text
        assert page.scripts() == OUR_SCRIPTS
        assert len(page.all("img")) == len(plain.all("img"))
        assert not any(key.startswith("on") or key == "style" for _, found in page.elements for key in found)
    names = [attributes for tag, attributes in Page.of(browser.get("/")).elements if tag == "bdi"]
    assert names, "names stand in an element that keeps their direction to themselves"


def test_a_long_name_in_a_problem_stays_text(browser: TestClient) -> None:
    response = browser.get(f"/{LONG[:5000]}<script>")
    assert response.status_code == 404
    assert not Page.of(response).scripts()


def test_measure_without_a_token_from_the_page_is_refused(browser: TestClient) -> None:
    response = browser.post("/measure")
    assert response.status_code == 403
    assert "csrf" in Page.of(response).text


@pytest.mark.parametrize(
    ("method", "path", "back"),
    [
        ("POST", "/measure", "/measure"),
        ("POST", "/models/7/note", "/models"),
        ("GET", "/models/7", "/models"),
        ("GET", "/models?page=x", "/"),
        ("GET", "/modelsX", "/"),
    ],
)
def test_what_did_not_work_leads_back_to_its_page(browser: TestClient, method: str, path: str, back: str) -> None:
    response = browser.request(method, path)
    assert response.status_code >= 400
    assert {"class": "button", "href": back} in Page.of(response).all("a")


def test_measure_says_why_it_cannot_be_done(browser: TestClient) -> None:
    page = Page.of(browser.get("/measure"))
    assert ("/measure", {"csrf"}) in page.forms()
    assert "0 of the 2 devices that a round needs" in page.text
    assert browser.post("/measure", data={"csrf": page.csrf()}).status_code == 409


RECEIVED, LOCAL = [[40, 20], [30, 60]], [[48, 12], [15, 75]]
HEADS = ["Recall, local", "Recall, global", "Precision, local", "Precision, global"]


def release(app: FastAPI, received: list[list[int]] = RECEIVED, local: list[list[int]] = LOCAL, count: int = 5) -> None:
    """Counts as a round releases them, of the current model."""
    service = app.state.service
    both = [Measured(np.array(matrix, np.int64), 30.0) for matrix in (received, local)]
    with service.database.transaction() as tx:
        model = service.models.current(tx).sha256
        measurements.store(tx, 1, model, Totals(count=count, received=both[0], local=both[1]))


def measurable(folder: Path) -> FastAPI:
    """A main server into whose database ``release`` can write."""
    made, parts = create_app(MainServerSettings(state=folder / "main"))
    install(made, parts)
    made.state.service = parts.service
    return made


@pytest.fixture
def large(tmp_path: Path) -> FastAPI:
    """Of a federation that is no demonstration."""
    return measurable(make_folder(tmp_path / "large", demo=False))


def test_global_and_local_figures_are_shown_by_class_and_cell(large: FastAPI) -> None:
    assert "Not measured yet." in Page.of(owner(large).get("/models/0")).text
    release(large)
    response = owner(large).get("/models/0")
    page = Page.of(response)
    assert "From round 1" in page.text
    assert all(head in page.text for head in HEADS)
    assert "100 of 150" in page.text
    assert "123 of 150" in page.text
    for figure in ("80.0 %", "83.3 %", "57.1 %", "75.0 %"):  # recall, local; precision, global
        assert figure in page.text
    drawn = re.findall(r'<td class="number (?:right|wrong)">(\d+)</td>', response.text)
    assert drawn == [str(cell) for row in RECEIVED + LOCAL for cell in row]


def test_figures_that_could_point_to_single_homes_are_not_on_the_page(large: FastAPI) -> None:
    release(large, local=[[57, 3], [15, 75]])
    page = Page.of(owner(large).get("/models/0"))
    assert "Only totals are shown" in page.text
    assert "132 of 150" in page.text
    assert not any(head in page.text for head in HEADS)
    assert "what was taken for what" not in page.text
    metrics = owner(large).get("/api/v1/models").json()["models"][0]["metrics"]
    assert (metrics["shown"], metrics["confusion"]) == ("totals", None)


def test_recall_may_be_shown_without_cells(tmp_path: Path) -> None:
    app = measurable(make_folder(tmp_path / "three", demo=False, classes=("cat", "dog", "fox")))
    matrix = [[90, 3, 9], [4, 80, 20], [11, 0, 70]]
    release(app, matrix, matrix)
    text = Page.of(owner(app).get("/models/0")).text
    assert "Recall, local" in text
    assert "Precision, local" not in text
    assert "Global: what was taken for what" not in text
    assert "Precision and what was taken for what are not shown" in text


def test_figures_say_when_there_is_nothing_to_compare(tmp_path: Path) -> None:
    app = measurable(make_folder(tmp_path / "federation"))
    release(app, local=[[10, 10], [10, 10]], count=2)
    text = Page.of(owner(app).get("/models/0")).text
    assert "Not every device had a model of its own to compare." in text
    assert "Recall, global" in text
    assert "Recall, local" not in text


def test_a_large_matrix_is_not_drawn_but_linked(tmp_path: Path) -> None:
    names = tuple(f"class {index}" for index in range(30))
    app = measurable(make_folder(tmp_path / "many", classes=names))
    matrix = (np.eye(30, dtype=int) * 20).tolist()
    release(app, matrix, matrix)
    response = owner(app).get("/models/0")
    assert not any(item.get("class") == "confusion" for item in Page.of(response).all("table"))
    assert "/api/v1/rounds/1" in response.text


def test_hostile_class_names_in_figures_are_only_text(tmp_path: Path) -> None:
    app = measurable(make_folder(tmp_path / "hostile", classes=("<script>alert(1)<script>", "dog")))
    release(app)
    page = Page.of(owner(app).get("/models/0"))
    assert page.text.count("<script>alert(1)<script>") >= 5
    assert page.scripts() == OUR_SCRIPTS


def test_a_round_that_there_is_not(browser: TestClient) -> None:
    response = browser.get("/api/v1/rounds/7", headers={"Accept": "application/json"})
    assert (response.status_code, response.json()["error"]["message"]) == (404, "There is no round 7.")


def test_a_model_can_be_downloaded_from_the_page(browser: TestClient) -> None:
    links = [attributes["href"] for attributes in Page.of(browser.get("/models/0")).all("a")]
    assert browser.get(next(link for link in links if link.endswith("/file"))).status_code == 200


def test_the_task_page_says_how_often_devices_ask_for_news(tmp_path: Path) -> None:
    app, parts = server(tmp_path / "federation")
    for number in range(1, 13):
        add_member(parts, number)
    parts.service.membership.load()
    browser = owner(app)
    assert "at once, and wait for it" in browser.get("/task").text
    parts.service.change_policy(polls_per_second=1)
    assert "about every 12.0 s" in browser.get("/task").text
    parts.service.close()
