"""A study is asked for over a network: it names no file, no folder and no code, and is never larger than allowed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from fanlight.errors import SettingsError
from fanlight.learning.datasets.prepare import NAMES
from fanlight.services.http.headers import CONTENT_SECURITY_POLICY
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.studies.permitted import MOST_DEVICES, MOST_ROUNDS, permitted, read_toml
from fanlight.simulation.study import Study
from tests.hostile import TEXTS
from tests.unit.consoles.federation import Page, owner, stranger
from tests.unit.main_server.past import server

API = "/api/v1/studies"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[MainServerParts, TestClient, str]:
    app, parts = server(tmp_path_factory.mktemp("main") / "federation")
    browser = owner(app)
    return parts, browser, Page.of(browser.get("/studies")).csrf()


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Whoever opens it to read waits for ever: the test's time limit tells."""
    path = tmp_path / "trap.csv"
    os.mkfifo(path)
    return path


def nothing_began(parts: MainServerParts) -> bool:
    return parts.studies.all() == [] and not parts.studies._folder.exists()


@pytest.mark.parametrize("spelt", ["file:{}", "FILE:{}", " file :{}", "rotation:30+file:{}", "iid+\tFile:{}"])
@pytest.mark.parametrize("name", ["partition", "world"])
def test_no_file_is_read(made: tuple[MainServerParts, TestClient, str], trap: Path, name: str, spelt: str) -> None:
    parts, browser, csrf = made
    asked = {name: spelt.format(trap)}
    answer = browser.post(API, json=asked, headers=JSON | {"X-CSRF-Token": csrf})
    assert (answer.status_code, answer.json()["error"]["slug"]) == (400, "study-not-permitted")
    for form in (asked, {"toml": f"{name} = {json.dumps(asked[name])}"}):
        page = browser.post("/studies", data=form | {"csrf": csrf})
        assert page.status_code == 400
        assert "Nothing was started." in Page.of(page).text
    assert nothing_began(parts)


@pytest.mark.parametrize(
    "asked",
    [
        {"dataset": "/etc"},
        {"dataset": "."},
        {"dataset": "../../main"},
        {"dataset": ["digits"]},
        {"module": "os:system"},
        {"module": "mymodels:small_cnn", "dataset": "digits"},
        {"devices": MOST_DEVICES + 1},
        {"devices": 10**30},
        {"devices": "7"},
        {"devices": 5.0},
        {"devices": True},
        {"devices": -1},
        {"rounds": MOST_ROUNDS + 1},
        {"seed": 2**70},
        {"picture_size": 1024},
        {"training": {"epochs": 10**9}},
        {"training": {"epochs": "9" * 5000}},
        {"training": [1]},
        {"shards": 10**9},
        {"fidelity": "protocol", "devices": 1000},
        {"algorithm": "fedavg:combine=" + "k" * 1000},
        {"partition": "iid\n"},
        {"partition": "key:\u202ecolumn"},
        {"out": "/"},
        {"engine": "ray"},
        {"world": "speeds:mixed", "state": "/"},
        *({"partition": text} for text in TEXTS.values()),
        *({"algorithm": text} for text in TEXTS.values()),
        *({text: 1} for text in TEXTS.values()),
    ],
)
def test_what_is_too_large_or_another_s_is_refused(
    made: tuple[MainServerParts, TestClient, str], asked: dict[str, Any]
) -> None:
    parts, browser, csrf = made
    answer = browser.post(API, content=json.dumps(asked), headers=JSON | {"X-CSRF-Token": csrf})
    assert answer.status_code == 400, answer.text
    assert nothing_began(parts)


@pytest.mark.parametrize("text", ["a = " + "[" * 4000, "a = 1\n" * 3000, "devices = " + "9" * 8000, *TEXTS.values()])
def test_no_toml_stops_the_server(made: tuple[MainServerParts, TestClient, str], text: str) -> None:
    parts, browser, csrf = made
    answer = browser.post("/studies", data={"csrf": csrf, "toml": text})
    assert answer.status_code == 400
    assert nothing_began(parts)


words = st.text(max_size=40) | st.sampled_from(["file:/etc/passwd", "digits", "iid", "fedavg", "sign-flip:0.1", ""])
values = words | st.integers() | st.floats() | st.booleans() | st.lists(words, max_size=2) | st.none()


@given(st.dictionaries(st.sampled_from([*Study.model_fields, "x"]), values, max_size=6))
def test_whatever_is_permitted_is_small_and_names_nothing(fields: dict[str, Any]) -> None:
    try:
        study = permitted(fields)
    except SettingsError:
        return
    assert study.dataset in NAMES
    assert not study.module
    assert "file" not in f"{study.partition} {study.world}".lower()
    assert study.devices <= MOST_DEVICES
    assert study.rounds <= MOST_ROUNDS
    assert Study.of(read_toml_of(study)) == study


def read_toml_of(study: Study) -> dict[str, Any]:
    from fanlight.services.main_server.studies.permitted import as_toml

    return read_toml(as_toml(study))


def test_only_the_owner_starts_looks_and_removes(tmp_path: Path) -> None:
    app, parts = server(tmp_path / "federation")
    nobody, program = stranger(app), stranger(app)
    for path in ("/studies", "/studies/1", "/studies/compare?study=1"):
        assert nobody.get(path).status_code == 303
    for path in (API, f"{API}/1", f"{API}/1/report", f"{API}/1/result", f"{API}/1/study"):
        assert program.get(path, headers=JSON).status_code == 401
    for path in (API, f"{API}/1/stop", f"{API}/1/go-on", "/studies", "/studies/1/remove"):
        assert program.post(path, json={}, headers=JSON).status_code == 401
    assert program.delete(f"{API}/1", headers=JSON).status_code == 401
    assert nothing_began(parts)


def test_a_foreign_page_starts_nothing(made: tuple[MainServerParts, TestClient, str]) -> None:
    parts, browser, csrf = made
    foreign = JSON | {"Origin": "https://evil.example", "X-CSRF-Token": csrf}
    for headers in (JSON, foreign):
        assert browser.post(API, json={}, headers=headers).status_code == 403
        assert browser.delete(f"{API}/1", headers=headers).status_code == 403
        assert browser.post("/studies", data={"rounds": "1"}, headers=headers).status_code == 403
    assert nothing_began(parts)


@pytest.mark.parametrize("number", ["0", "-1", "1e3", "..", "%2e%2e", "shared", "9" * 40, "compare/../1"])
def test_no_address_leads_out_of_the_folder(made: tuple[MainServerParts, TestClient, str], number: str) -> None:
    _parts, browser, _csrf = made
    for end in ("", "/report", "/result", "/study"):
        assert browser.get(f"{API}/{number}{end}", headers=JSON).status_code in (400, 404)


def test_other_answers_keep_the_strict_policy(made: tuple[MainServerParts, TestClient, str]) -> None:
    _parts, browser, _csrf = made
    for path in ("/studies", "/studies/compare", API, f"{API}/1/report"):
        assert browser.get(path).headers["content-security-policy"] == CONTENT_SECURITY_POLICY
