"""What a backbone's file says of itself, and what no file may say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from safetensors.numpy import save_file

from fanlight.errors import ModelError, SettingsError
from fanlight.learning.architectures import compile_weights
from fanlight.learning.backbones import DEFAULT_BACKBONE, MAX_BACKBONE_BYTES
from fanlight.learning.onnx_file import Graph, labelled, labels
from fanlight.learning.own_backbones import Description, describe, label, read_backbone
from tests.unit.learning.mobilenet_v2_by_hand import random_weights

GRAPH = Graph("g", [], []).encode()
MINE = Description("mine", "Mine, of the garden", "CC-BY-4.0", 4)


def test_a_file_says_what_it_is_and_stays_a_graph(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(label(GRAPH, MINE))
    assert read_backbone(path) == (path.read_bytes(), MINE)
    assert labels(path.read_bytes()).keys() == {entry.key for entry in onnx.load(path).metadata_props}
    assert label(GRAPH, MINE) == path.read_bytes()


def test_weights_become_such_a_file(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_file(random_weights(), weights)
    made = [compile_weights("mobilenet-v2", weights, name="mine", licence="MIT") for _ in range(2)]
    assert made[0] == made[1]
    assert describe(made[0]) == Description("mine", "MobileNetV2", "MIT", 1280)
    onnx.checker.check_model(onnx.load_from_string(made[0]), full_check=True)
    with pytest.raises(SettingsError, match="no architecture"):
        compile_weights("mobilenet-v9", weights, name="mine", licence="MIT")


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": DEFAULT_BACKBONE},
        {"id": "../up"},
        {"id": "Mine"},
        {"id": ""},
        {"title": ""},
        {"title": "two\nlines"},
        {"licence": "x" * 201},
        {"features": 0},
        {"features": True},
        {"features": 10**9},
    ],
)
def test_words_that_cannot_be_used(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        label(GRAPH, replace(MINE, **wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        json.dumps({"id": "mine", "title": "t", "licence": "l"}),
        json.dumps({"id": "mine", "title": "t", "licence": "l", "features": 4, "more": 1}),
        json.dumps({"id": ["mine"], "title": "t", "licence": "l", "features": 4}),
        json.dumps({"id": "mine", "title": 3, "licence": "l", "features": 4}),
    ],
)
def test_a_file_that_says_something_else(said: str) -> None:
    with pytest.raises(ModelError):
        describe(labelled(GRAPH, {"fanlight.backbone": said}))


@pytest.mark.parametrize("data", [b"", GRAPH, b"PK\x03\x04", GRAPH[:-1], b"\x72\x03\x0a\x01\xff"])
def test_a_file_that_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(ModelError):
        read_backbone(tmp_path / "b")


def test_missing_and_too_large_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_backbone(tmp_path / "gone")
    with (tmp_path / "b").open("wb") as file:
        file.truncate(MAX_BACKBONE_BYTES + 1)
    with pytest.raises(ModelError, match="larger than"):
        read_backbone(tmp_path / "b")
