from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert
from structlog.testing import capture_logs

from fanlight.errors import StorageError
from fanlight.protocol.closing import Outcome, SignedOutcome
from fanlight.services.device.app import create_app
from fanlight.services.device.role import Chances, DeviceRole, build_role
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from fanlight.storage.tables.device import contradictions
from tests.unit.device.federation import NOW, FakeFederation


@pytest.fixture
def served(federation: FakeFederation, tmp_path: Path, drawn: Path) -> Iterator[tuple[TestClient, DeviceRole]]:
    token = issue_token_file(federation.folder, "porch", NOW + 1000)
    settings = DeviceSettings(
        token=token, data=drawn, state=tmp_path / "state", accept_demo=True, poll_wait_s=0, port=8001
    )
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 0.0, sleep=lambda _s: None)
    app, role = create_app(settings, chances=chances, transport=federation.transport)
    with TestClient(app, base_url="http://localhost:8001") as client:
        client.headers["Authorization"] = f"Bearer {(tmp_path / 'state' / 'api-token').read_text().strip()}"
        yield client, role


def finished(client: TestClient, role: DeviceRole, path: str) -> dict[str, object]:
    response = client.post(path)
    assert response.status_code == 202, response.text
    role.jobs.wait(response.json()["job"], 60)
    job: dict[str, object] = client.get(response.json()["status_url"]).json()
    assert job["state"] == "done", job
    return job


def wait_for_model(client: TestClient, role: DeviceRole) -> None:
    for _ in range(3000):
        if client.get("/api/v1/status").json()["enrolled"]["main"] and role.store.held:
            return
        role.agent._stopping.wait(0.02)
    raise AssertionError(client.get("/api/v1/status").json())


def test_the_three_steps_over_http(federation: FakeFederation, served: tuple[TestClient, DeviceRole]) -> None:
    client, role = served
    wait_for_model(client, role)
    early = client.post("/sendstatus")
    assert early.status_code == 409
    assert early.json()["error"]["slug"] == "round-idle"
    assert early.json()["error"]["next"]
    federation.open_round()
    for path in ("/modeltrain", "/sendstatus", "/sendmodel"):
        finished(client, role, path)
    assert len(federation.uploads) == 1
    sent = client.get("/api/v1/sent").json()["sent"]
    assert [(entry["round"], entry["state"]) for entry in sent] == [(1, "confirmed")]
    learning = client.get("/api/v1/learning").json()
    assert learning["name"] == "porch"
    assert learning["classes"] == ["bright", "dark"]
    assert learning["rounds"][0]["local_accuracy"] == learning["local"]["metrics"]["accuracy"]
    assert client.post("/sendmodel").json()["error"]["slug"] == "already-sent"


def test_a_new_model_is_seen_by_the_very_next_step(
    federation: FakeFederation, served: tuple[TestClient, DeviceRole]
) -> None:
    client, role = served
    wait_for_model(client, role)
    finished(client, role, "/modeltrain")
    federation.open_round()
    finished(client, role, "/sendstatus")
    finished(client, role, "/sendmodel")


def test_browsers_are_led_to_the_page_of_the_step(served: tuple[TestClient, DeviceRole]) -> None:
    client, role = served
    wait_for_model(client, role)
    response = client.post("/modeltrain", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/modeltrain")


@pytest.mark.parametrize("path", ["/modeltrain", "/sendstatus", "/sendmodel", "/api/v1/key", "/api/v1/equivocation"])
def test_strangers_start_nothing(served: tuple[TestClient, DeviceRole], path: str) -> None:
    client, _role = served
    assert client.post(path, headers={"Authorization": ""}).status_code == 401
    assert client.post(path, headers={"Authorization": "Bearer guessed"}).status_code == 401


@pytest.mark.parametrize("path", ["status", "learning", "sent", "refusals"])
def test_strangers_read_nothing(served: tuple[TestClient, DeviceRole], path: str) -> None:
    client, _role = served
    assert client.get(f"/api/v1/{path}").status_code == 200
    assert client.get(f"/api/v1/{path}", headers={"Authorization": ""}).status_code == 401


def test_health_needs_no_login(served: tuple[TestClient, DeviceRole]) -> None:
    client, _role = served
    assert client.get("/healthz", headers={"Authorization": ""}).json()["role"] == "device"


def test_the_key_is_changed_on_request(federation: FakeFederation, served: tuple[TestClient, DeviceRole]) -> None:
    client, role = served
    wait_for_model(client, role)
    before = federation.keys["main"]
    assert client.post("/api/v1/key").status_code == 200
    assert federation.keys["main"] == federation.keys["aggregator"] != before


def test_a_full_stop_ends_the_thread(served: tuple[TestClient, DeviceRole]) -> None:
    _client, role = served
    role.agent.stop()
    assert not role.agent._thread.is_alive()


def test_the_owner_acknowledges_an_equivocation(served: tuple[TestClient, DeviceRole]) -> None:
    client, role = served
    outcome = Outcome(mh=bytes(32), result="released", reason="ok", set_root=bytes(32))
    signed = SignedOutcome(payload=outcome.encode(), aggregator_signature=bytes(64)).encode()
    with role.store.database.transaction() as tx:
        values = {"mh": bytes(32), "number": 1, "first": signed, "second": signed, "found_at": 5}
        tx.execute(insert(contradictions).values(**values))
    assert not client.get("/api/v1/status").json()["equivocation"]["acknowledged"]
    assert client.post("/api/v1/equivocation").json()["equivocation"]["acknowledged"]
    assert not role.store.evidence.unacknowledged


def test_a_state_folder_has_one_process(served: tuple[TestClient, DeviceRole]) -> None:
    _client, role = served
    with pytest.raises(StorageError) as caught:
        build_role(role.settings)
    assert caught.value.slug == "state-in-use"


def test_a_start_that_failed_gives_the_folder_back(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    state = tmp_path / "device-1"
    state.mkdir()
    (state / "device.key").write_bytes(b"")
    (state / "device.key").chmod(0o600)
    with pytest.raises(StorageError, match=r"device\.key"):
        federation.device(state, drawn)
    (state / "device.key").unlink()
    federation.device(state, drawn).stop()


def test_a_data_folder_that_is_not_there_is_named_at_the_start_and_the_device_goes_on(
    federation: FakeFederation, tmp_path: Path
) -> None:
    token = issue_token_file(federation.folder, "attic", NOW + 1000)
    settings = DeviceSettings(token=token, data=tmp_path / "pictrues", state=tmp_path / "state", poll_wait_s=0)
    app, _role = create_app(settings, chances=Chances(clock=lambda: float(NOW)), transport=federation.transport)
    with capture_logs() as lines, TestClient(app, base_url="http://localhost:8001") as client:
        assert client.get("/healthz").status_code == 200
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert str(settings.data) in warning["reason"]
    assert "--data" in warning["next"]
