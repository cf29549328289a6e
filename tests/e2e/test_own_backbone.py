"""A task on a backbone of the operator's own: devices run it once their owners allow its hash, and get it from main."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import save_file

from fanlight.cli import main as fanlight
from fanlight.errors import NotFound
from fanlight.learning.backbones import MAX_BACKBONE_BYTES
from fanlight.learning.model_file import decode
from tests.services_world import CLIENT, running, wait
from tests.unit.learning.mobilenet_v2_by_hand import random_weights


@pytest.fixture
def backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """As the operator makes it."""
    save_file(random_weights(), tmp_path / "weights.safetensors")
    words = ["--name", "garden-v2", "--licence", "CC-BY-4.0", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        fanlight(["backbone", "compile", "mobilenet-v2", str(tmp_path / "weights.safetensors"), *words])
    assert ended.value.code == 0
    return Path(capsys.readouterr().out.strip())


def test_a_round_on_an_own_backbone(tmp_path: Path, backbone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path / "world", backbone=backbone) as world:
        own = world.task.own_backbone
        assert own is not None
        first = world.add_device(backbones=(f"garden-v2={own.sha256}",)).start()
        second = world.add_device().start()
        for device in (first, second):
            wait(device.sees_round, "a round is open for each device")
        first.send_model()
        assert (first.settings.state / "backbones" / backbone.name).read_bytes() == backbone.read_bytes()

        assert second.owner.ended("/modeltrain")["error"]["slug"] == "backbone-refused"
        assert not (second.settings.state / "backbones" / backbone.name).exists()
        assert second.owner.ask("PUT", "/api/v1/trusted", {"name": "garden-v2", "sha256": own.sha256}).is_success
        second.send_model()
        world.aggregate()
        assert world.round(1, state="complete", participants=2)

        state = str(world.federation / "main")
        with pytest.raises(SystemExit) as ended:
            fanlight(["export", "--state", state, "--out", str(tmp_path / "out")])
        assert ended.value.code == 0
        wait(lambda: second.owner.status()["model"]["version"] == 1, "the device has the new version")
        picture = next((second.settings.data).rglob("*.png"))
        with pytest.raises(SystemExit) as ended:
            fanlight(["predict", str(picture), "--state", str(second.settings.state)])
        assert ended.value.code == 0
    card = (tmp_path / "out" / "fanlight-model-1.md").read_text()
    assert "`garden-v2`" in card
    assert "`CC-BY-4.0`" in card
    model = decode((tmp_path / "out" / "fanlight-model-1.safetensors").read_bytes())
    assert (model.backbone_id, model.backbone_sha256, model.weight.shape[0]) == ("garden-v2", own.sha256, 1280)
    capsys.readouterr()


def test_main_gives_its_backbone_to_members_alone_and_no_other_file(tmp_path: Path, backbone: Path) -> None:
    with running(tmp_path / "world", backbone=backbone) as world:
        own = world.task.own_backbone
        assert own is not None
        url = f"{world.ports['main'].url}/protocol/v1/backbones/"
        assert CLIENT.get(url + own.sha256).status_code == 401
        device = world.protocol_device()
        device.enrol()
        path = "/protocol/v1/backbones/"
        assert device.main.remote.send("GET", path + own.sha256, limit=MAX_BACKBONE_BYTES) == backbone.read_bytes()
        with pytest.raises(NotFound):
            device.main.remote.send("GET", path + "0" * 64)
