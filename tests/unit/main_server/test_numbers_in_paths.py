"""Numbers that no round or version can have are not found, however large: the database is never asked for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.unit.main_server.past import server

TOO_LARGE = 1 << 63


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    made, _parts = server(Path(tmp_path_factory.mktemp("main")) / "federation")
    return made


@pytest.fixture(scope="module")
def http(app: FastAPI) -> TestClient:
    made = TestClient(app, base_url="http://localhost:8000", follow_redirects=False)
    made.get(app.state.owner_sessions.new_link())
    return made


@pytest.mark.parametrize("number", [TOO_LARGE, -1, 1 << 200])
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/models/{}",
        "/api/v1/models/{}/file",
        "/api/v1/models/{}/card.json",
        "/api/v1/models/{}/onnx",
        "/api/v1/models/{}/card.md",
        "/api/v1/rounds/{}",
        "/rounds/{}",
        "/models/{}",
        "/models/0?with={}",
    ],
)
def test_no_round_or_version_has_such_a_number(http: TestClient, path: str, number: int) -> None:
    answer = http.get(path.format(number))
    assert (answer.status_code, answer.json()["error"]["slug"]) == (404, "not-found")


@pytest.mark.parametrize("path", ["/rounds", "/models", "/log", "/api/v1/log"])
def test_pages_have_a_bound(http: TestClient, path: str) -> None:
    assert http.get(f"{path}?page={10**9}").status_code == 200
    assert http.get(f"{path}?page={TOO_LARGE}").status_code == 400


def test_nor_can_such_a_version_become_current(http: TestClient) -> None:
    for path in ("current", "note"):
        csrf = http.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]
        answer = http.post(f"/models/{TOO_LARGE}/{path}", data={"csrf": csrf})
        assert answer.status_code == 404
