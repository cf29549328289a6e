"""``fanlight export`` by its public contract; what the ONNX file says is held by tests/unit/learning/test_export.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from fanlight.learning.architectures import compile_weights
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.export import to_onnx
from fanlight.learning.features import open_session
from fanlight.learning.model_file import decode, model_hash
from fanlight.services.http.sessions import API_TOKEN_FILE
from tests.services_world import running
from tests.unit.cli.test_predict import model_bytes
from tests.unit.learning.mobilenet_v2_by_hand import random_weights
from tests.unit.main_server.past import BETTER, add_round, measure, server

Fanlight = Callable[..., Any]
SUFFIXES = ["onnx", "safetensors", "json", "md"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "downloaded.safetensors"
    path.write_bytes(model_bytes())
    return path


def paths(folder: Path, version: int) -> list[Path]:
    return [folder / f"fanlight-model-{version}.{suffix}" for suffix in SUFFIXES]


def test_a_model_file_becomes_four_files(fanlight: Fanlight, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    ran = fanlight("export", "--model", model, "--out", out)
    assert (ran.code, ran.out.split()) == (0, [str(path) for path in paths(out, 3)])
    onnx, safetensors, as_json, markdown = paths(out, 3)
    assert safetensors.read_bytes() == model.read_bytes()
    pictures = np.random.default_rng(2).integers(0, 255, (1, 64, 64, 3), np.uint8)
    names, rows = open_session(onnx.read_bytes(), threads=1).run(None, {"images": pictures})
    assert names[0] == ("cat", "dog", "hen")[int(rows[0].argmax())]
    card = json.loads(as_json.read_text())
    assert card["sha256"] == model_hash(model.read_bytes())
    assert (card["classes"], card["backbone"]["licence"], card["metrics"]) == (
        ["cat", "dog", "hen"],
        "Apache-2.0",
        None,
    )
    text = markdown.read_text()
    for said in (
        "version 3",
        "Apache-2.0",
        "from the model's file alone",
        "A file cannot prove where it comes from",
        "No picture left a device",
        "Only differential",
    ):
        assert said in text
    assert "Made:" not in text


def test_a_stopped_server_s_folder_gives_any_version(fanlight: Fanlight, tmp_path: Path) -> None:
    _app, parts = server(tmp_path / "federation")
    for number in (1, 2):
        add_round(parts, number)
    with parts.service.database.reading() as tx:
        files = [parts.service.models.file_of(tx, number) for number in range(3)]
    measure(parts, 2, BETTER)
    parts.service.promotion.write_note(2, "before winter")
    cards = [json.loads(json.dumps(parts.records.card(number))) for number in range(3)]
    parts.service.close()
    for state, options, version in (
        ("federation/main", (), 2),
        ("federation", (), 2),
        ("federation", ("--version", 1), 1),
        ("federation", ("--version", 0), 0),
    ):
        ran = fanlight("export", "--state", tmp_path / state, "--out", tmp_path / "out", *options)
        assert ran.out.split() == [str(path) for path in paths(tmp_path / "out", version)]
        assert paths(tmp_path / "out", version)[1].read_bytes() == files[version]
        card = json.loads(paths(tmp_path / "out", version)[2].read_text())
        assert card == cards[version], "the card that it gives while it runs"
    assert cards[1]["metrics"]["total"] == 150
    ran = fanlight("export", "--state", tmp_path / "federation", "--version", 7)
    assert (ran.code, ran.out) == (1, "")
    assert "no model version 7" in ran.err


def test_a_running_server_gives_its_own_card(fanlight: Fanlight, tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = world.enrolled(2)
        for device in devices:
            device.report()
        world.aggregate()
        url, token = world.owner("main").url, world.federation / "main" / API_TOKEN_FILE
        asked = httpx.get(
            f"{url}/api/v1/models/1/onnx", headers={"Authorization": f"Bearer {token.read_text().strip()}"}, timeout=60
        )
        for options in (
            ("--state", world.federation),
            ("--url", url, "--token-file", token),
            ("--url", f"{url}/", "--token-file", token, "--version", 1),
        ):
            ran = fanlight("export", "--out", tmp_path / "out", *options)
            assert ran.out.split() == [str(path) for path in paths(tmp_path / "out", 1)]
            onnx, _file, as_json, markdown = (path.read_bytes() for path in paths(tmp_path / "out", 1))
            assert onnx == asked.content
            card = json.loads(as_json)
            assert (card["round"], card["devices_in_the_sum"], card["algorithm"]["name"]) == (1, 2, "fedavg")
            assert (card["training_rounds"], card["metrics"]) == (1, None)
            assert b"from round 1, a sum over 2 devices" in markdown
            for path in paths(tmp_path / "out", 1):
                path.unlink()
        ran = fanlight("export", "--state", world.federation, "--version", 2)
        assert (ran.code, ran.out) == (1, "")
        assert "no model version 2" in ran.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--url", "http://localhost:1"), "go together"),
        (("--token-file", "t"), "go together"),
        (("--url", "http://localhost:1", "--token-file", "t", "--state", "s"), "one of --model, --state and --url"),
        (("--model", "m", "--state", "s"), "either --model or --state"),
        (("--model", "m", "--version", 1), "holds one version"),
        ((), "Which model?"),
    ],
)
def test_wrong_calls_are_told_apart(
    fanlight: Fanlight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = fanlight("export", *options)
    assert (ran.code, said in ran.err, list(tmp_path.iterdir())) == (2, True, [])


def test_a_model_of_another_backbone_is_refused_and_nothing_written(fanlight: Fanlight, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_bytes(backbone_sha256="0" * 64))
    ran = fanlight("export", "--model", path, "--out", tmp_path / "out")
    assert ran.code == 1
    assert "trained on another efficientnet-lite0" in ran.err
    assert not (tmp_path / "out").exists()


def test_the_card_of_a_device_s_model_has_the_licence_that_its_own_backbone_says(
    fanlight: Fanlight, tmp_path: Path
) -> None:
    weights, device = tmp_path / "w.safetensors", tmp_path / "device"
    save_file(random_weights(), weights)
    backbone = compile_weights("mobilenet-v2", weights, name="garden", licence="CC0-1.0", title="Garden")
    sha256 = hashlib.sha256(backbone).hexdigest()
    for folder, name, content in (
        ("backbones", f"garden-{sha256[:16]}.onnx", backbone),
        ("models", f"global-{'0' * 64}.safetensors", model_bytes(backbone_id="garden", backbone_sha256=sha256)),
    ):
        (device / folder).mkdir(parents=True)
        (device / folder / name).write_bytes(content)
    (device / "state.sqlite3").touch()
    ran = fanlight("export", "--state", device, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    _onnx, _file, as_json, markdown = (path.read_text("utf-8", "replace") for path in paths(tmp_path / "out", 3))
    known = json.loads(as_json)["backbone"]
    assert (known["id"], known["title"], known["licence"]) == ("garden", "Garden", "CC0-1.0")
    assert "licence of its weights: `CC0-1.0`" in markdown


def test_a_folder_that_cannot_be_written_is_named(fanlight: Fanlight, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = fanlight("export", "--model", model, "--out", tmp_path / "file")
    assert (ran.code, str(tmp_path / "file") in ran.err) == (1, True)


def test_the_page_of_a_version_offers_the_same_file(tmp_path: Path) -> None:
    from tests.unit.consoles.federation import owner

    app, parts = server(tmp_path / "federation")
    add_round(parts, 1)
    measure(parts, 1, BETTER)
    browser = owner(app)
    assert 'href="/api/v1/models/1/onnx"' in browser.get("/models/1").text
    answer = browser.get("/api/v1/models/1/onnx")
    with parts.service.database.reading() as tx:
        model = decode(parts.service.models.file_of(tx, 1))
    assert answer.content == to_onnx(model, compile_backbone(model.backbone_id, tmp_path / "backbones"))
    assert answer.headers["content-disposition"] == 'attachment; filename="fanlight-model-1.onnx"'
    again = browser.get("/api/v1/models/1/onnx", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
