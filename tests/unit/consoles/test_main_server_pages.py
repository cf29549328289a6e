"""The main server's pages: every state is drawn, and what they offer is what the server does."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fanlight.consoles.main_server import install
from fanlight.errors import Unreachable
from fanlight.protocol.contribution import Measured, Totals
from fanlight.services.http.jobs import Progress
from fanlight.services.main_server import measurements
from fanlight.services.main_server.app import MainServerParts, create_app
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.storage.tables import main as tables
from tests.services_world import wait
from tests.unit.consoles.federation import HOSTILE, LONG, OUR_SCRIPTS, Page, main_server, make_folder, owner
from tests.unit.main_server.past import add_member, add_round, measure, server

STEPS = {
    "/aggregate_models": "Aggregate Local Models",
    "/send_model_clients": "Send Aggregated Models to Federated Clients",
    "/measure": "Measure",
}


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return main_server(make_folder(tmp_path / "federation"))


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    return owner(app)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[tuple[TestClient, MainServerParts]]:
    """A main server into whose past one can write, and its owner's browser."""
    app, parts = server(tmp_path / "past", demo=True)
    yield owner(app), parts
    parts.service.close()


Past = tuple[TestClient, MainServerParts]


@pytest.mark.parametrize("demo", [True, False])
def test_the_command_for_a_device_is_the_one_that_works_here(tmp_path: Path, *, demo: bool) -> None:
    browser = owner(main_server(make_folder(tmp_path / "federation", demo=demo)))
    for path in ("/", "/devices"):
        text = Page.of(browser.get(path)).text
        assert "fanlight device --token FILE --data PICTURES" in text
        assert ("--accept-demo" in text) == demo


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


@pytest.fixture
def running_step(past: Past) -> Iterator[str]:
    """The job of a step that stands at a quarter."""
    jobs, over = past[1].service.jobs, threading.Event()

    def work(progress: Progress) -> None:
        progress(0.25, "Waiting for the secure aggregator")
        over.wait()

    job = jobs.start("/aggregate_models", work)
    wait(lambda: jobs.get(job.id).fraction, "it has begun")
    yield job.id
    over.set()


def test_a_running_step_shows_how_far_it_is(past: Past, running_step: str) -> None:
    browser, _parts = past
    for path in ("/", "/aggregate_models"):
        page = Page.of(browser.get(path))
        assert page.all("progress")[0]["value"] == "0.250"
        assert "Waiting for the secure aggregator" in page.text
        assert any(attributes.get("id") == f"job-{running_step}" for attributes in page.all("div"))
        assert any(attributes.get("href") == "/aggregate_models" for attributes in page.all("a"))
        button = next(item for item in page.all("button") if "why-aggregate_models" in item.get("aria-describedby", ""))
        assert "disabled" in button
    assert "The reports are being added up." in Page.of(browser.get("/")).text


def fails() -> None:
    raise Unreachable("It did not answer.", next="Try again.")


@pytest.mark.parametrize(
    ("work", "shown"), [(fails, "Try again."), (lambda: {"local_accuracy": 0.875}, "87.5 %"), (lambda: None, "Done.")]
)
def test_an_ended_step_shows_how_it_ended(past: Past, work: Callable[[], Any], shown: str) -> None:
    browser, parts = past
    jobs = parts.service.jobs
    jobs.wait(jobs.start("/aggregate_models", lambda _progress: work()).id)
    assert shown in Page.of(browser.get("/aggregate_models")).text


@pytest.mark.parametrize("state", ["complete", "failed", "abandoned"])
def test_a_round_is_shown_in_each_state_that_it_can_end_in(past: Past, state: str) -> None:
    browser, parts = past
    add_round(parts, 7, state=state)
    page = Page.of(browser.get("/"))
    assert "Round 7" in page.text
    assert state in page.text
    assert ("too few" in page.text) is (state != "complete")


def test_rounds_show_accuracy_before_and_after(past: Past) -> None:
    browser, parts = past
    parts.service.change_policy(by_itself=True, rounds=1)
    add_round(parts, 1)
    measure(parts, 1, [[50, 50], [50, 50]])
    add_round(parts, 2, kind="measure")
    measure(parts, 2, [[93, 7], [7, 93]])
    page = Page.of(browser.get("/"))
    assert "All rounds are done." in page.text
    assert "Training rounds by the policy: 1. For more, raise that number, or set 0: no end (Task)." in page.text
    for figure in ("50.0 %", "93.0 %", "+43.0", "10.0 s"):
        assert figure in page.text


def test_only_the_last_rounds_are_on_the_overview(tmp_path: Path) -> None:
    app, parts = server(tmp_path / "federation")
    for number in range(1, 9):
        add_round(parts, number)
    page = Page.of(owner(app).get("/"))
    links = [link["href"] for link in page.all("a") if re.fullmatch(r"/rounds/[0-9]+", link["href"])]
    assert set(links) == {f"/rounds/{number}" for number in range(4, 9)}
    assert "All 8 rounds" in page.text


@pytest.mark.parametrize(("kind", "told"), [("train", True), ("measure", False)])
def test_a_measuring_round_tells_of_no_announcements_and_no_new_model(past: Past, kind: str, told: bool) -> None:
    browser, parts = past
    add_member(parts, 1)
    add_round(parts, 1, kind=kind)
    text = Page.of(browser.get("/")).text
    assert ("have announced" in text, "have the new model" in text) == (told, told)
    assert "reports arrived" in text


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({}, "away"),
        ({"revoked_at": 2}, "revoked"),
        ({"left_at": 2}, "left"),
        (None, "waits for the aggregator"),
    ],
)
def test_devices_are_shown_by_state(past: Past, values: dict[str, int] | None, shown: str) -> None:
    browser, parts = past
    add_member(parts, 1)
    with parts.service.database.transaction() as tx:
        if values is None:
            tx.execute(tables.enrolled_at_aggregator.delete())
        elif values:
            tx.execute(tables.devices.update().values(**values))
    badges = [item for item in Page.of(browser.get("/devices")).all("span") if "badge" in item.get("class", "")]
    assert len(badges) == 1
    assert f">{shown}</span>" in browser.get("/devices").text


def test_many_devices_are_shown_page_by_page(past: Past) -> None:
    browser, parts = past
    names = [f"number {index:02}" for index in range(60)]
    for index, name in enumerate(names):
        add_member(parts, index + 1, name=name)
    for index in range(0, 60, 2):
        parts.service.presence.see(bytes([index + 1]) * 16)
    first, second = (Page.of(browser.get(f"/devices?page={page}")).text for page in (1, 2))
    assert all("Away: 30" in text for text in (first, second))
    assert "Here: 30" in first
    assert "Here:" not in second
    assert all((name in first) != (name in second) for name in names)
    assert "Page 2 of 2" in second


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12].encode("unicode_escape").decode())
def test_hostile_names_are_only_text(past: Past, name: str) -> None:
    browser, parts = past
    plain = Page.of(browser.get("/"))
    add_member(parts, 1, name=name)
    add_round(parts, 1, state="failed")
    with parts.service.database.transaction() as tx:
        tx.execute(tables.rounds.update().values(reason=name))
    for path in ("/", "/rounds", "/devices"):
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
    assert Page.of(response).scripts() == OUR_SCRIPTS


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
