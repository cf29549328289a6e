"""Where a device's backbone comes from: kept, made of installed weights, or fetched - if its owner allows it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fanlight.errors import ModelError, NotAuthentic, NotFound, Refused, SettingsError
from fanlight.learning import backbones
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE, compile_backbone, kept_backbone
from fanlight.learning.onnx_file import Graph, Port
from fanlight.services.device import made
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.wishes import HEADS
from tests.unit.device.federation import FakeFederation
from tests.unit.device.joined import turn

GRAPH = Graph("g", [Port("pictures", np.uint8, ("n",))], [Port("features", np.float32, ("n", 4))]).encode()
SHA256 = hashlib.sha256(GRAPH).hexdigest()


@pytest.fixture
def role(federation: FakeFederation, tmp_path: Path, drawn: Path) -> DeviceRole:
    made = federation.device(tmp_path / "device", drawn)
    turn(made)  # a member now
    return made


def asked(role: DeviceRole, name: str = "mine", sha256: str = SHA256) -> backbones.CompiledBackbone:
    return made.compiled_backbone(role.settings.state, name, sha256, 4, role.fetch)


def files(role: DeviceRole) -> list[str]:
    """Of the test's own: the known one was made when the device looked at its first model."""
    return [path.name for path in (role.settings.state / "backbones").glob("mine*")]


def test_one_that_is_allowed_is_fetched_once(federation: FakeFederation, role: DeviceRole) -> None:
    federation.backbone = GRAPH
    role.rounds.wishes.trust("mine", SHA256)
    assert asked(role).read() == asked(role).read() == GRAPH
    assert files(role) == [f"mine-{SHA256[:16]}.onnx"]
    assert federation.seen.count("main GET backbones") == 1
    asked(role).path.write_bytes(b"damaged")
    assert asked(role).read() == GRAPH


def test_one_that_is_not_allowed_is_not_even_asked_for(federation: FakeFederation, role: DeviceRole) -> None:
    federation.backbone = GRAPH
    role.rounds.wishes.trust("mine", "0" * 64)
    with pytest.raises(Refused) as caught:
        asked(role)
    assert caught.value.slug == "backbone-refused"
    assert "main GET backbones" not in federation.seen
    assert files(role) == []


def test_another_file_than_the_allowed_one_is_not_kept(federation: FakeFederation, role: DeviceRole) -> None:
    federation.backbone = GRAPH + b"\x0a"
    role.rounds.wishes.trust("mine", SHA256)
    with pytest.raises(NotAuthentic, match="another file"):
        asked(role)
    assert files(role) == []


def test_what_main_does_not_have_is_said(federation: FakeFederation, role: DeviceRole) -> None:
    role.rounds.wishes.trust("mine", SHA256)
    with pytest.raises(NotFound):
        asked(role)


@pytest.mark.parametrize("name", ["../../outside", "a/b", "", "Mine", "x" * 65, ".hidden"])
def test_a_name_never_leads_out_of_the_folder(role: DeviceRole, name: str) -> None:
    with pytest.raises(SettingsError):
        role.rounds.wishes.trust(name, SHA256)
    with pytest.raises(ModelError, match="no name of a backbone"):
        asked(role, name)


def test_without_the_package_the_known_one_is_fetched_too(
    federation: FakeFederation, role: DeviceRole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = BACKBONES[DEFAULT_BACKBONE]
    federation.backbone = compile_backbone(DEFAULT_BACKBONE, tmp_path / "elsewhere").read()
    missing = replace(entry, source=replace(entry.source, distribution="no-such-package"))
    for module in (backbones, made):
        monkeypatch.setattr(module, "BACKBONES", {DEFAULT_BACKBONE: missing})
    monkeypatch.setattr(backbones, "kept_backbone", kept_backbone)  # none is there as in other tests (``made_once``)
    found = made.compiled_backbone(role.settings.state, entry.id, entry.compiled_sha256, entry.features, role.fetch)
    assert found.read() == federation.backbone
    role.rounds.wishes.allow(["softmax"])
    found.path.unlink()
    with pytest.raises(Refused):
        made.compiled_backbone(role.settings.state, entry.id, entry.compiled_sha256, entry.features, role.fetch)


def test_wishes_remember_what_is_trusted(federation: FakeFederation, role: DeviceRole) -> None:
    wishes = role.rounds.wishes
    wishes.trust("mine", SHA256)
    wishes.trust("mine", "ab" * 32)
    assert wishes.choices == dict.fromkeys([*BACKBONES, "mine", *HEADS], True)
    assert wishes.floors.backbones["mine"] == b"\xab" * 32
    wishes.allow(HEADS)
    assert (wishes.kept.excluded, wishes.kept.trusted) == (tuple(sorted(BACKBONES)), ())
    for name in (DEFAULT_BACKBONE, "softmax"):
        with pytest.raises(SettingsError, match="no backbone that could be allowed"):
            wishes.trust(name, SHA256)


def test_the_start_can_allow_some(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    role = federation.device(tmp_path / "other", drawn, backbones=(f"mine={SHA256}",))
    assert role.rounds.wishes.floors.backbones["mine"].hex() == SHA256


def test_the_task_s_unknown_backbone_is_the_one_to_decide_on(federation: FakeFederation, role: DeviceRole) -> None:
    wishes, plan = role.rounds.wishes, federation.plan
    assert wishes.unknown(None) is wishes.unknown(plan) is None
    foreign = plan.with_(backbone="mine", backbone_hash=bytes.fromhex(SHA256))
    unknown = wishes.unknown(foreign)
    assert unknown is not None
    assert (unknown.name, unknown.sha256) == ("mine", SHA256)
    wishes.trust("mine", SHA256)
    assert wishes.unknown(foreign) is None
    assert wishes.unknown(plan.with_(backbone="../x")) is None
