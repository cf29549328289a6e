from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fanlight.services.device.app import create_app
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from tests.unit.device.federation import NOW, FakeFederation, draw_pictures, first_model
from tests.unit.device.joined import done, turn
from tests.unit.device.library.conftest import png
from tests.unit.device.library.test_uploads import packed


@pytest.fixture
def served(federation: FakeFederation, tmp_path: Path) -> Iterator[tuple[TestClient, DeviceRole]]:
    token = issue_token_file(federation.folder, "porch", NOW + 1000)
    data = draw_pictures(tmp_path / "data")
    settings = DeviceSettings(token=token, data=data, state=tmp_path / "state", poll_wait_s=0, port=8001)
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 0.0, sleep=lambda _s: None)
    app, role = create_app(settings, chances=chances, transport=federation.transport)
    client = TestClient(app, base_url="http://localhost:8001")
    client.headers["Authorization"] = f"Bearer {(tmp_path / 'state' / 'api-token').read_text().strip()}"
    yield client, role
    role.stop()


def test_a_model_that_has_learned_nothing_is_not_asked(served: tuple[TestClient, DeviceRole]) -> None:
    client, role = served
    turn(role)
    answer = client.post("/api/v1/pictures/suggest")
    assert (answer.status_code, answer.json()["error"]["slug"]) == (409, "model-knows-nothing")
    assert role.jobs.latest("suggest") is None


def test_pictures_are_added_suggested_confirmed_and_deleted(
    federation: FakeFederation, served: tuple[TestClient, DeviceRole]
) -> None:
    client, role = served
    federation.publish(first_model(version=1))
    turn(role)
    files = [("files", (f"dark/{n}.png", png(n), "image/png")) for n in range(3)]
    zipped = ("files", ("more.ZIP", packed({"z.png": png(9)}), "application/zip"))
    added = client.post("/api/v1/pictures", files=[*files, zipped])
    assert (added.status_code, added.json()["count"]) == (201, 4)
    job = client.post("/api/v1/pictures/suggest").json()["job"]
    done(role, role.jobs.get(job))
    suggested = client.get("/api/v1/pictures/suggestions").json()["pictures"]
    assert len(suggested) == 4
    assert [picture["confidence"] for picture in suggested] == sorted(picture["confidence"] for picture in suggested)
    ids = [picture["sha256"] for picture in suggested]
    assert client.post("/api/v1/pictures/confirm", json={"pictures": ids}).json() == {"count": 4}
    labelled = client.get("/api/v1/pictures", params={"label": suggested[0]["suggestion"], "state": "labelled"}).json()
    assert set(ids) & {picture["sha256"] for picture in labelled["pictures"]}
    assert client.post("/api/v1/pictures/delete", data={"pictures": ids[:2]}).json() == {"count": 2}
    assert client.post("/api/v1/pictures/undo").json() == {"undone": {"kind": "delete", "count": 2, "label": None}}
    overview = client.get("/api/v1/pictures/overview").json()
    assert (overview["states"]["labelled"], overview["undo"]["kind"]) == (14, "confirm")
    client.post("/api/v1/pictures/delete", json={"pictures": ids})
    assert client.post("/api/v1/pictures/restore", json={"pictures": ids[:3]}).json() == {"count": 3}
    assert client.post("/api/v1/pictures/empty-bin").json() == {"count": 1}
    assert client.post("/api/v1/pictures/restore", json={"pictures": ids}).json() == {"count": 0}


def test_files_go_to_the_owner_only_and_no_browser_keeps_what_was_deleted(
    served: tuple[TestClient, DeviceRole],
) -> None:
    client, role = served
    picture = client.get("/api/v1/pictures").json()["pictures"][0]
    for address, kind in ((picture["thumbnail"], "image/webp"), (picture["original"], "image/png")):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["cache-control"] == ("no-store" if kind == "image/png" else "private, no-cache")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get(address, headers={"Authorization": "Bearer wrong"}).status_code == 401
    known = {"If-None-Match": client.get(picture["thumbnail"]).headers["etag"]}
    kept = client.get(picture["thumbnail"], headers=known)
    assert (kept.status_code, kept.content) == (304, b"")
    role.library.delete([picture["sha256"]])
    role.library.empty_bin()
    assert client.get(picture["thumbnail"], headers=known).status_code == 404
    assert client.get("/pictures/..%2f..%2fapi-token/original").status_code == 404
    assert client.get(f"/pictures/{'0' * 64}/thumbnail").status_code == 404


def test_bodies_are_bounded_and_must_be_what_they_should(served: tuple[TestClient, DeviceRole]) -> None:
    client, _role = served
    long = client.post("/api/v1/pictures", content=b"x", headers={"Content-Length": str(3 << 30)})
    assert long.status_code == 413
    assert client.post("/api/v1/pictures", content=iter([b"x"])).status_code == 400
    assert client.post("/api/v1/pictures", data={"label": "dark"}).json()["error"]["slug"] == "no-picture"
    many = [("files", (f"{n}.png", b"", "image/png")) for n in range(5001)]
    refused = client.post("/api/v1/pictures", files=many)
    assert (refused.status_code, refused.json()["error"]["slug"]) == (422, "too-many-files")
    for body in (b"{", b"[]", b'{"pictures": "all"}', b'{"pictures": [1]}', b"[" * 100_000):
        answer = client.post("/api/v1/pictures/delete", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, body[:20]
    answer = client.post("/api/v1/pictures/assign", json={"pictures": [], "label": "unheard of"})
    assert (answer.status_code, answer.json()["error"]["slug"]) == (422, "unknown-class")
    assert client.post("/api/v1/pictures/suggest").json()["error"]["slug"] == "no-model-yet"


def test_others_change_nothing(served: tuple[TestClient, DeviceRole]) -> None:
    client, role = served
    client.headers["Authorization"] = "Bearer wrong"
    for name in ("", "/assign", "/confirm", "/unusable", "/delete", "/restore", "/empty-bin", "/undo", "/suggest"):
        assert client.post(f"/api/v1/pictures{name}", files={"f": io.BytesIO(png())}).status_code == 401
    assert role.library.page().total == 10
