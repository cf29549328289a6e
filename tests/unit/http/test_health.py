from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fanlight.services.http.health import Check, health_router, storage_checks
from fanlight.storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "secret-folder" / "state.sqlite3", busy_timeout_ms=20) as made:
        with made.transaction():
            pass
        yield made


def asked(**checks: Check) -> TestClient:
    app = FastAPI()
    app.include_router(health_router("device", checks, kept_s=0))
    return TestClient(app)


def test_ready_when_database_and_disk_are(database: Database, tmp_path: Path) -> None:
    answer = asked(**storage_checks(database, tmp_path)).get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"role": "device", "ready": True, "reasons": {}})
    assert [file.name for file in tmp_path.iterdir()] == ["secret-folder"]  # the probe leaves nothing behind


def test_not_ready_while_the_database_does_not_answer(database: Database, tmp_path: Path) -> None:
    http = asked(**storage_checks(database, tmp_path))
    assert database.path is not None
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = http.get("/readyz")
        assert answer.status_code == 503
        assert list(answer.json()["reasons"]) == ["database"]
        assert "secret-folder" not in answer.text
        assert http.get("/healthz").status_code == 200  # alive all the same
    assert http.get("/readyz").status_code == 200


def test_not_ready_when_the_folder_cannot_be_written(database: Database, tmp_path: Path) -> None:
    answer = asked(**storage_checks(database, tmp_path / "gone-folder")).get("/readyz")
    assert answer.status_code == 503
    assert list(answer.json()["reasons"]) == ["disk"]
    assert "gone-folder" not in answer.text


def test_every_reason_is_named() -> None:
    answer = asked(one=lambda: "One is missing.", two=lambda: "", three=lambda: "So is three.").get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "role": "device",
        "ready": False,
        "reasons": {"one": "One is missing.", "three": "So is three."},
    }


def test_a_look_is_kept_for_a_moment_however_many_ask() -> None:
    looks: list[str] = []

    def look() -> str:
        looks.append("")
        return "Not yet."

    app = FastAPI()
    app.include_router(health_router("device", {"one": look}, kept_s=60))
    http = TestClient(app)
    assert [http.get("/readyz").json()["reasons"] for _ in range(5)] == [{"one": "Not yet."}] * 5
    assert len(looks) == 1
