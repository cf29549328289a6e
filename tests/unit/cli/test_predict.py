"""``fanlight predict`` by its public contract."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fanlight.learning.backbones import DEFAULT_BACKBONE, backbone
from fanlight.learning.familiar import Familiar
from fanlight.learning.home_model import HomeModel
from fanlight.learning.model_file import HeadModel, decode, encode
from fanlight.learning.unknown import Threshold
from fanlight.services.device.home_findings import Findings
from fanlight.services.device.home_models import HomeModels, Kept
from fanlight.services.device.learned import Held
from fanlight.services.device.store import DeviceStore
from fanlight.services.device.values import Values
from fanlight.storage import migrating
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate

Fanlight = Callable[..., Any]


def model_bytes(classes: tuple[str, ...] = ("cat", "dog", "hen"), **changes: Any) -> bytes:
    entry = backbone(DEFAULT_BACKBONE)
    weight = np.random.default_rng(5).normal(0, 0.1, (entry.features, len(classes))).astype(np.float32)
    fields: dict[str, Any] = {
        "task": "default",
        "version": 3,
        "classes": classes,
        "backbone_id": entry.id,
        "backbone_sha256": entry.compiled_sha256,
        "picture_size": 64,
        "weight": weight,
        "bias": np.zeros(len(classes), np.float32),
    }
    return encode(HeadModel(**fields | changes))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes())
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "garden.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 50, 3), np.uint8)).save(path)
    return path


def test_json_holds_class_confidence_and_all_scores(fanlight: Fanlight, model: Path, picture: Path) -> None:
    ran = fanlight("predict", picture, picture, "--model", model, "--json")
    assert ran.code == 0
    first, second = json.loads(ran.out)
    assert first == second
    assert set(first) == {"image", "class", "certainty", "confidence", "scores"}
    assert first["image"] == str(picture)
    assert set(first["scores"]) == {"cat", "dog", "hen"}
    assert sum(first["scores"].values()) == pytest.approx(1)
    assert first["confidence"] == first["scores"][first["class"]] == max(first["scores"].values())


def test_a_bad_picture_is_named_and_the_others_are_answered(
    fanlight: Fanlight, model: Path, picture: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    ran = fanlight("predict", bad, picture, tmp_path / "missing.png", "--model", model, "--json")
    assert ran.code == 1
    first, second, third = json.loads(ran.out)
    assert set(first) == set(third) == {"image", "error"}
    assert first["image"] == str(bad)
    assert second["class"] in ("cat", "dog", "hen")


def test_without_json_a_line_for_each_picture(fanlight: Fanlight, model: Path, picture: Path) -> None:
    ran = fanlight("predict", picture, "--model", model)
    assert ran.code == 0
    assert ran.out.startswith(f"{picture}: ")
    assert ran.out.rstrip().endswith(" %)")


def test_without_a_model_the_error_says_how_to_get_one(
    fanlight: Fanlight, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = fanlight("predict", picture)
    assert ran.code == 2
    assert "fanlight demo" in ran.err


def test_model_and_state_together_are_a_usage_error(fanlight: Fanlight, model: Path, picture: Path) -> None:
    assert fanlight("predict", picture, "--model", model, "--state", model.parent).code == 2


def test_a_state_folder_without_a_model_is_named(fanlight: Fanlight, picture: Path, tmp_path: Path) -> None:
    ran = fanlight("predict", picture, "--state", tmp_path)
    assert ran.code == 1
    assert f"{tmp_path} holds no model" in ran.err


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a model"])
def test_a_file_that_is_no_model_is_named(fanlight: Fanlight, model: Path, picture: Path, content: bytes) -> None:
    model.write_bytes(content)
    ran = fanlight("predict", picture, "--model", model)
    assert ran.code == 1
    assert str(model) in ran.err


def test_a_model_of_another_backbone_is_refused(fanlight: Fanlight, model: Path, picture: Path) -> None:
    model.write_bytes(model_bytes(backbone_sha256="0" * 64))
    ran = fanlight("predict", picture, "--model", model)
    assert ran.code == 1
    assert "another efficientnet-lite0" in ran.err


def test_a_devices_state_gives_its_global_model_not_its_local_one(
    fanlight: Fanlight, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "device" / "models").mkdir(parents=True)
    (tmp_path / "device" / "state.sqlite3").touch()
    for whose in ("global", "local"):
        content = model_bytes((f"{whose}-a", f"{whose}-b"))
        (tmp_path / "device" / "models" / f"{whose}-{'0' * 64}.safetensors").write_bytes(content)
    ran = fanlight("predict", picture, "--state", tmp_path / "device", "--json")
    assert set(json.loads(ran.out)[0]["scores"]) == {"global-a", "global-b"}


def test_a_model_that_came_along_with_an_offer_is_found(fanlight: Fanlight, picture: Path, tmp_path: Path) -> None:
    content, store = model_bytes(("ant", "bee")), DeviceStore(tmp_path / "device")
    store.hold(Held(sha256=hashlib.sha256(content).digest(), version=3, plan_bytes=b"plan"), content)
    ran = fanlight("predict", picture, "--state", tmp_path / "device", "--shared", "--json")  # while it is open
    store.close()
    assert set(json.loads(ran.out)[0]["scores"]) == {"ant", "bee"}
    ran = fanlight("export", "--shared", "--state", tmp_path / "device", "--out", tmp_path / "out")
    assert content in [path.read_bytes() for path in (tmp_path / "out").iterdir()], "the file as it is, for main"


@pytest.mark.parametrize(("current", "given"), [(None, 2), (-1, 2), (1, 1)])
def test_a_main_servers_state_gives_its_current_model(
    fanlight: Fanlight, picture: Path, tmp_path: Path, current: int | None, given: int
) -> None:
    from sqlalchemy import insert

    from fanlight.services.main_server import notes
    from fanlight.services.main_server.version_files import MODELS_FOLDER, VersionFiles
    from fanlight.storage.tables import main as tables

    database = Database(tmp_path / "main" / "state.sqlite3")
    migrate(database, "main")
    files = VersionFiles(tmp_path / "main" / MODELS_FOLDER)
    with database.transaction() as tx:
        for version, published in ((0, True), (1, True), (2, True), (3, False)):
            content = model_bytes((f"a{version}", f"b{version}"))
            sha256, _ = files.add([content])
            values = {"sha256": sha256, "created_at": 0.0, "published": published, "size": len(content)}
            tx.execute(insert(tables.models).values(version=version, **values))
        if current is not None:
            notes.keep(tx, notes.CURRENT_MODEL, current)
    ran = fanlight("predict", picture, "--state", tmp_path / "main", "--json")
    database.close()
    assert set(json.loads(ran.out)[0]["scores"]) == {f"a{given}", f"b{given}"}


def test_a_main_servers_state_of_an_older_release_says_what_to_do(
    fanlight: Fanlight, picture: Path, tmp_path: Path
) -> None:
    from alembic import command
    from sqlalchemy import text

    with Database(tmp_path / "main" / "state.sqlite3") as database, database.transaction() as tx:
        config = migrating._config("main")
        config.attributes["connection"] = tx
        command.upgrade(config, "0014")
        tx.execute(text("INSERT INTO models (version, sha256, created_at, published, size) VALUES (0, x'00', 0, 1, 1)"))
        tx.execute(text("INSERT INTO model_files (sha256, content) VALUES (x'00', x'00')"))
    ran = fanlight("predict", picture, "--state", tmp_path / "main")
    assert ran.code == 1
    assert "older Fanlight" in ran.err
    assert "Start the main server" in ran.err


@pytest.mark.parametrize(
    ("threshold", "floor", "certainty"), [(-99.0, 0.0, "sure"), (99.0, -99.0, "perhaps"), (99.0, 99.0, "unknown")]
)
def test_a_device_with_own_names_answers_with_them_or_knows_no_such_thing(
    fanlight: Fanlight, picture: Path, tmp_path: Path, threshold: float, floor: float, certainty: str
) -> None:
    state = tmp_path / "device"
    (state / "models").mkdir(parents=True)
    (state / "models" / f"global-{'0' * 64}.safetensors").write_bytes(model_bytes())
    keep_home(state, threshold, floor)
    (answer,) = json.loads(fanlight("predict", picture, "--state", state, "--json").out)
    assert set(answer["scores"]) == {"cat", "dog", "hen", "Minka"}
    likeliest = max(answer["scores"], key=answer["scores"].__getitem__)
    unknown = certainty == "unknown"
    assert answer["certainty"] == certainty
    assert answer["class"] == (None if unknown else likeliest)
    assert answer.get("likeliest") == (likeliest if unknown else None)
    said = fanlight("predict", picture, "--state", state).out
    names = {"sure": likeliest, "perhaps": f"perhaps {likeliest}", "unknown": f"unknown (most like {likeliest},"}
    assert said.startswith(f"{picture}: {names[certainty]} ")
    (shared,) = json.loads(fanlight("predict", picture, "--state", state, "--shared", "--json").out)
    assert set(shared["scores"]) == {"cat", "dog", "hen"}


def keep_home(state: Path, threshold: float, floor: float) -> None:
    """Write what a device keeps of its home's head."""
    classes = ("cat", "dog", "hen", "Minka")
    database = Database(state / "state.sqlite3")
    migrate(database, "device")
    head = decode(model_bytes(classes))
    told = Threshold(threshold, 0.05, 0.05, 0.1, 30)
    findings = Findings(3, (), told, (), (), 0, 0, 0)
    rows = len(head.weight) + 1
    familiar = Familiar(
        np.arange(4), np.zeros((rows, 4), np.float32), np.zeros((rows, 1), np.float32), np.full(4, floor, np.float32)
    )
    HomeModels(database, Values(database)).keep(Kept(HomeModel(head, familiar, threshold), findings, bytes(32), 0))
    database.close()


def test_file_names_are_printed_escaped_and_once(
    fanlight: Fanlight, model: Path, picture: Path, tmp_path: Path
) -> None:
    good, bad = (tmp_path / f"{name}\x1b[2J\nbär.png" for name in ("good", "bad"))
    picture.rename(good)
    bad.write_bytes(b"no picture")
    ran = fanlight("predict", good, bad, "--model", model)
    assert ran.code == 1
    for printed, name in ((ran.out, "good"), (ran.err, "bad")):
        assert "\x1b" not in printed
        assert printed.count("\n") == 1
        assert printed.startswith(f"{tmp_path}/{name}\\x1b[2J\\nbär.png: ")
        assert printed.count("bär.png") == 1
