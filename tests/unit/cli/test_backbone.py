"""``fanlight backbone``: list, compile, quantise, and a task of what comes out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.numpy import save_file

from fanlight.learning.own_backbones import Description, read_backbone
from tests.unit.learning import backbone_reference
from tests.unit.learning.mobilenet_v2_by_hand import random_weights

Fanlight = Callable[..., Any]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_file(random_weights(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    for number, pixels in enumerate(backbone_reference.draw(64)):
        Image.fromarray(pixels).save(tmp_path / "pictures" / "cat" / f"{number}.png")
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def test_the_list_has_what_is_known_and_what_can_be_made(fanlight: Fanlight) -> None:
    lines = [line.split("\t") for line in fanlight("backbone", "list").out.splitlines()]
    assert [line[:3] for line in lines] == [
        ["efficientnet-lite0", "1280", "Apache-2.0"],
        ["efficientnet-lite0-levels", "2024", "Apache-2.0"],
        ["mobilenet-v2", "1280", "-"],
    ]


def test_weights_become_a_task_and_then_a_smaller_one(
    fanlight: Fanlight, weights: Path, pictures: Path, tmp_path: Path
) -> None:
    words = ("--name", "garden", "--licence", "CC0-1.0", "--title", "Garden", "--out", tmp_path / "out")
    ran = fanlight("backbone", "compile", "mobilenet-v2", weights, *words)
    made = Path(ran.out.strip())
    sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
    assert made.name == f"garden-{sha256[:16]}.onnx"
    assert f"--allow-backbone garden={sha256}" in ran.err

    ran = fanlight(
        "backbone", "quantise", made, pictures, "--name", "garden-int8", "--picture-size", 64, "--out", tmp_path
    )
    small = Path(ran.out.strip())
    assert "notes.txt" in ran.err
    assert read_backbone(small)[1] == Description("garden-int8", "Garden, int8", "CC0-1.0", 1280)
    assert small.stat().st_size < made.stat().st_size / 3

    task = tmp_path / "federation" / "main" / "task.json"
    ran = fanlight("federation", "init", tmp_path / "federation", "--classes", "cat,dog", "--backbone", small)
    assert ran.code == 0
    own = json.loads(task.read_text())["own_backbone"]
    assert own["sha256"] == hashlib.sha256(small.read_bytes()).hexdigest()
    assert (task.parent / "backbones" / small.name).read_bytes() == small.read_bytes()


def test_what_cannot_be_made_is_said_and_nothing_written(fanlight: Fanlight, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for command, said in (
        (("compile", "mobilenet-v2", weights, "--name", "efficientnet-lite0", "--licence", "x"), "registry"),
        (("compile", "mobilenet-v2", "hf:nothing", "--name", "mine", "--licence", "x"), "names nothing on the hub"),
        (
            ("compile", "mobilenet-v2", weights, "--name", "mine", "--licence", "x", "--sha256", "0" * 64),
            "another file",
        ),
        (("quantise", tmp_path / "gone", tmp_path, "--name", "mine"), "cannot be read"),
        (("quantise", weights, tmp_path, "--name", "mine"), "no backbone of Fanlight's"),
    ):
        ran = fanlight("backbone", *command, "--out", out)
        assert (ran.code, ran.out) == (1, "")
        assert said in ran.err
    assert not out.exists()


def test_a_folder_without_pictures_cannot_calibrate(
    fanlight: Fanlight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    ran = fanlight(
        "backbone", "quantise", "efficientnet-lite0", tmp_path / "empty", "--name", "mine", "--out", tmp_path
    )
    assert ran.code == 1
    assert "holds no picture" in ran.err
