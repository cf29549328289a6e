"""``fanlight predict`` and ``export`` of a device that took part in a round of Ditto: its own model, not the global."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from sqlalchemy import Executable, Update, text, update

from fanlight.learning.features import open_session
from fanlight.learning.model_file import decode, model_hash
from fanlight.learning.pictures import load
from fanlight.protocol.plan import PlannedAlgorithm
from fanlight.services.device.home_findings import Findings
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.store import read_held
from fanlight.services.device.values import put
from fanlight.storage.database import Database
from fanlight.storage.tables.device import home_models, memories
from tests.unit.device.federation import FakeFederation, draw_pictures
from tests.unit.device.joined import done, turn
from tests.unit.device.own_models import ditto_federation, takes_part, vector, version

Fanlight = Callable[..., Any]
DARK = Path("dark", "5.png")
"""Of eight a plain one: own models, which training draws, find .9 of it dark; the global one finds .0001."""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> FakeFederation:
    return ditto_federation(tmp_path_factory.mktemp("ditto") / "federation")


@pytest.fixture(scope="module")
def device(federation: FakeFederation) -> Iterator[DeviceRole]:
    """A device whose own model tells bright from dark, while the global one names everything bright."""
    folder = federation.folder.parent
    role = federation.device(folder / "device", draw_pictures(folder / "pictures", each=8))
    takes_part(federation, role, version(1, (1, 1)))
    yield role
    role.stop()


@pytest.fixture
def dark(device: DeviceRole) -> Path:
    return device.pictures.folder / DARK


def test_predict_asks_its_own_model_and_says_so(fanlight: Fanlight, device: DeviceRole, dark: Path) -> None:
    ran = fanlight("predict", dark, "--state", device.settings.state, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)[0]["class"] == "dark"
    assert "This home's own model (Ditto, learned in round 1) answers; --shared asks that of all devices." in ran.err
    shared = fanlight("predict", dark, "--state", device.settings.state, "--json", "--shared")
    assert (json.loads(shared.out)[0]["class"], shared.err) == ("bright", "")


def test_predict_asks_own_names_as_long_as_the_model_that_they_stand_on_answers(
    fanlight: Fanlight, tmp_path: Path
) -> None:
    federation = ditto_federation(tmp_path / "federation")
    device = federation.device(tmp_path / "device", draw_pictures(tmp_path / "pictures", each=8))
    takes_part(federation, device, version(1, (1, 1)))
    device.library.refresh()
    done(device, device.home.learn())
    kept = device.home.models.kept
    assert kept is not None
    assert device.home.usable() is not None
    device.stop()
    dark = device.pictures.folder / DARK
    ran = fanlight("predict", dark, "--state", tmp_path / "device", "--json")
    assert json.loads(ran.out)[0]["certainty"] is not None
    assert "learned in round 1) answers, with the own names;" in ran.err
    _change(tmp_path / "device", _stands_on(kept.findings, own_round=None))
    ran = fanlight("predict", dark, "--state", tmp_path / "device", "--json")
    assert "The own names answer, on top of version 1 of the model of all devices," in ran.err
    assert "before this home's own model of round 1 came; --shared asks" in ran.err
    _change(tmp_path / "device", _stands_on(kept.findings, own_round=7))
    ran = fanlight("predict", dark, "--state", tmp_path / "device", "--json")
    assert (json.loads(ran.out)[0]["class"], json.loads(ran.out)[0]["certainty"]) == ("dark", None)
    assert "learned in round 1) answers;" in ran.err
    device = federation.device(tmp_path / "device", tmp_path / "pictures")
    assert device.home.usable() is None
    device.stop()


def _stands_on(findings: Findings, own_round: int | None) -> Update:
    found = TypeAdapter(Findings).dump_json(replace(findings, own_round=own_round))
    return update(home_models).values(findings=found)


def _change(state: Path, statement: Executable) -> None:
    with Database(state / "state.sqlite3") as database, database.transaction() as tx:
        tx.execute(statement)


def _of_a_later_release(state: Path) -> None:
    with Database(state / "state.sqlite3") as database:
        held = read_held(database)
        assert held is not None
        later = PlannedAlgorithm(name="later", parameters=(), steps=False)
        with database.transaction() as tx:
            put(tx, "held", held.with_(plan_bytes=held.plan.with_(algorithm=later).encode()).encode())


def _damaged_memory(state: Path) -> None:
    _change(state, update(memories).values(content=b"\0"))


def _damaged_plan(state: Path) -> None:
    _change(state, text("UPDATE settings SET value = x'00' WHERE key = 'held'"))


def _another_table(state: Path) -> None:
    _change(state, text("ALTER TABLE memories RENAME COLUMN content TO contents"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_of_a_later_release, "asks for the algorithm 'later' in a way that this program does not know"),
        (_damaged_memory, "What Ditto had this device remember of round 1 is damaged"),
        (_damaged_plan, ""),
        (_another_table, "no such column"),
    ],
)
def test_what_cannot_be_read_is_said_and_the_model_of_all_devices_answers_only_if_asked(
    fanlight: Fanlight, device: DeviceRole, dark: Path, tmp_path: Path, change: Callable[[Path], None], why: str
) -> None:
    state = _copy(device, tmp_path / "device")
    change(state)
    for command in (("predict", dark), ("export", "--out", tmp_path / "out")):
        ran = fanlight(*command, "--state", state)
        assert (ran.code, ran.out) == (1, "")
        assert "Whether this home has a model of its own cannot be told." in ran.err
        assert why in ran.err
        assert "--shared takes the model of all devices." in ran.err
        assert fanlight(*command, "--state", state, "--shared").code == 0


def test_the_database_of_an_earlier_release_has_no_own_model(
    fanlight: Fanlight, device: DeviceRole, dark: Path, tmp_path: Path
) -> None:
    state = _copy(device, tmp_path / "device")
    _change(state, text("DROP TABLE memories"))
    ran = fanlight("predict", dark, "--state", state, "--json")
    assert (ran.code, json.loads(ran.out)[0]["class"], ran.err) == (0, "bright", "")


def _copy(device: DeviceRole, folder: Path) -> Path:
    """Its state, with all that is in the database's log."""
    shutil.copytree(device.settings.state, folder)
    return folder


def test_export_writes_its_own_model_and_the_card_says_so(
    fanlight: Fanlight, federation: FakeFederation, device: DeviceRole, dark: Path, tmp_path: Path
) -> None:
    ran = fanlight("export", "--state", device.settings.state, "--out", tmp_path)
    names = [f"fanlight-own-model-1.{suffix}" for suffix in ("onnx", "safetensors", "json", "md")]
    assert ran.out.split() == [str(tmp_path / name) for name in names]
    onnx, safetensors, as_json, markdown = (tmp_path / name for name in names)
    content = safetensors.read_bytes()
    np.testing.assert_array_equal(vector(decode(content)), vector(device.rounds.answering().model))
    pixels = load(dark.read_bytes(), 32)[None]
    session = open_session(onnx.read_bytes(), threads=1)
    assert session.run(["class"], {"images": pixels})[0].tolist() == ["dark"]
    says, card = session.get_modelmeta().custom_metadata_map, json.loads(as_json.read_text())
    assert json.loads(says["own_model"]) == card["own_model"]
    assert says["note"].startswith("This home's own model (Ditto, learned in round 1). Whoever has this file has")
    assert card["own_model"] == {"algorithm": "Ditto", "round": 1, "learned_at": 1_700_000_000}
    assert (card["version"], card["sha256"]) == (1, model_hash(content))
    text = markdown.read_text()
    assert "a home’s own model beside version 1" in text
    assert "This home's own model, by Ditto, learned in round 1 (2023-11-14 22:13 UTC)" in text
    assert "it tells which classes that home has" in text
    assert "the main server has one with origin and figures" not in text


def test_export_can_write_the_model_of_all_devices(
    fanlight: Fanlight, federation: FakeFederation, device: DeviceRole, tmp_path: Path
) -> None:
    ran = fanlight("export", "--state", device.settings.state, "--out", tmp_path, "--shared")
    assert ran.out.split()[1] == str(tmp_path / "fanlight-model-1.safetensors")
    assert (tmp_path / "fanlight-model-1.safetensors").read_bytes() == federation.model
    assert json.loads((tmp_path / "fanlight-model-1.json").read_text())["own_model"] is None
    session = open_session((tmp_path / "fanlight-model-1.onnx").read_bytes(), threads=1)
    assert not {"own_model", "note"} & session.get_modelmeta().custom_metadata_map.keys()
    assert "own model" not in (tmp_path / "fanlight-model-1.md").read_text()


def test_a_stopped_device_answers_the_same_and_after_going_back_with_the_global_one(
    fanlight: Fanlight, tmp_path: Path
) -> None:
    federation = ditto_federation(tmp_path / "federation")
    device = federation.device(tmp_path / "device", draw_pictures(tmp_path / "pictures", each=8))
    takes_part(federation, device, version(1, (1, 1)))
    dark = device.pictures.folder / DARK

    def said() -> str:
        ran = fanlight("predict", dark, "--state", tmp_path / "device", "--json")
        return str(json.loads(ran.out)[0]["class"])

    device.stop()
    assert said() == "dark"
    device = federation.device(tmp_path / "device", tmp_path / "pictures")
    federation.publish(version(2, (2, 2)))
    turn(device)
    device.stop()
    assert said() == "bright"
