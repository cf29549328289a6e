from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from fanlight.errors import ModelError
from fanlight.learning import model_file
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.heads import SoftmaxHead
from fanlight.learning.model_file import Control, HeadModel, decode, encode, model_hash

MODEL = HeadModel(
    task="doorbell",
    version=3,
    classes=("object", "not_object"),
    backbone_id="efficientnet-lite0",
    backbone_sha256="ab" * 32,
    picture_size=128,
    weight=np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2),
    bias=np.array([0.5, -0.5], np.float32),
)


def same(one: HeadModel, other: HeadModel) -> bool:
    empty = np.empty(0, np.float32)
    rest = [replace(model, weight=empty, bias=empty, tuned={}, control=None) for model in (one, other)]
    fields_agree = rest[0] == rest[1] and one.tuned_sha256 == other.tuned_sha256
    return (
        fields_agree and one.weight.tobytes() == other.weight.tobytes() and one.bias.tobytes() == other.bias.tobytes()
    )


def header_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def file_of(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def with_metadata(change: Callable[[dict[str, Any]], object]) -> bytes:
    header, body = header_of(encode(MODEL))
    metadata = json.loads(header["__metadata__"]["fanlight"])
    change(metadata)
    header["__metadata__"]["fanlight"] = json.dumps(metadata)
    return file_of(header, body)


def with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
    header, body = header_of(encode(MODEL))
    change(header)
    return file_of(header, body)


def test_there_and_back() -> None:
    assert same(decode(encode(MODEL)), MODEL)


def test_the_rounds_that_it_comes_of_are_in_the_file_if_devices_remember_something_of_them() -> None:
    known = replace(MODEL, lineage=Lineage("feddyn", ((1, 3), (7, 7))))
    header, _ = header_of(encode(known))
    said = json.loads(header["__metadata__"]["fanlight"])
    assert said.pop("lineage") == {"algorithm": "feddyn", "rounds": [[1, 3], [7, 7]]}
    assert same(decode(encode(known)), known)
    plain, _ = header_of(encode(MODEL))
    assert said == json.loads(plain["__metadata__"]["fanlight"])
    assert known.with_tensors(known.tensors).lineage is None, "a device's own model comes of no round"
    with pytest.raises(ModelError, match="rounds"):
        decode(with_metadata(lambda metadata: metadata.update(lineage={"algorithm": "feddyn", "rounds": [[3, 1]]})))


@pytest.mark.parametrize("name", ["doorbell", "Türklingel", 'a "quoted" name', "back\\slash", "日本"])
def test_the_bytes_are_those_that_safetensors_writes(name: str) -> None:
    model = replace(MODEL, task=name)
    header, _ = header_of(encode(model))
    assert encode(model) == save({"head.weight": model.weight, "head.bias": model.bias}, header["__metadata__"])


def test_the_same_model_gives_the_same_bytes() -> None:
    again = replace(MODEL, weight=np.asfortranarray(MODEL.weight))
    assert encode(again) == encode(MODEL) == encode(decode(encode(MODEL)))
    assert model_hash(encode(MODEL)) == hashlib.sha256(encode(MODEL)).hexdigest()
    assert encode(replace(MODEL, version=4)) != encode(MODEL)


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode(MODEL))
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == {"head.weight", "head.bias"}
        assert (file.get_tensor("head.weight") == MODEL.weight).all()
        assert json.loads(file.metadata()["fanlight"])["classes"] == ["object", "not_object"]


def test_class_names_of_any_script() -> None:
    model = replace(MODEL, classes=("gâteau", "茶"))
    assert decode(encode(model)).classes == model.classes


@pytest.mark.parametrize(
    "bad",
    [
        {"task": ""},
        {"task": "x" * 201},
        {"task": "a\nb"},
        {"version": -1},
        {"version": True},
        {"version": 1.0},
        {"classes": ("a", "a")},
        {"classes": ("a",)},
        {"classes": ("a", "b", "c")},
        {"classes": ("a", "")},
        {"backbone_id": ""},
        {"backbone_sha256": "AB" * 32},
        {"backbone_sha256": "ab" * 31},
        {"picture_size": 7},
        {"picture_size": 2049},
        {"bias": np.zeros(3, np.float32)},
        {"weight": np.full((4, 2), np.nan, np.float32)},
        {"bias": np.array([np.inf, 0], np.float32)},
    ],
    ids=str,
)
def test_fields_out_of_range(bad: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        encode(replace(MODEL, **bad))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format=2),
        lambda m: m.update(head="quadratic"),
        lambda m: m.update(extra=1),
        lambda m: m.pop("task"),
        lambda m: m.update(classes="ab"),
        lambda m: m.update(classes=["a", 1]),
        lambda m: m.update(classes=[["a"], ["b"]]),
        lambda m: m.update(backbone="lite"),
        lambda m: m.update(backbone={"id": "lite"}),
        lambda m: m.update(backbone={"id": "lite", "sha256": 5}),
        lambda m: m.update(version="3"),
        lambda m: m.update(picture_size=128.0),
        lambda m: m.update(task=None),
    ],
)
def test_metadata_that_are_wrong(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ModelError):
        decode(with_metadata(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.pop("head.bias"),
        lambda h: h.update(extra=h["head.bias"]),
        lambda h: h.pop("__metadata__"),
        lambda h: h.update(__metadata__={"format": "pt"}),
        lambda h: h.update(__metadata__={"fanlight": 5}),
        lambda h: h.update(__metadata__={"fanlight": "["}),
        lambda h: h.update(__metadata__={"fanlight": "[" * 5000}),
        lambda h: h["head.bias"].update(dtype="F64"),
        lambda h: h["head.bias"].update(shape=[3]),
        lambda h: h["head.bias"].update(shape=[2.0]),
        lambda h: h["head.bias"].update(shape=[-2]),
        lambda h: h["head.bias"].update(data_offsets=[0, 2**40]),
        lambda h: h["head.bias"].update(data_offsets=h["head.weight"]["data_offsets"]),
        lambda h: h["head.weight"].update(shape=[2**62, 2**62]),
        lambda h: h["head.weight"].update(shape=[8]),
        lambda h: h["head.weight"].update(shape=[2, 4]),
        lambda h: h.update({"head.bias": []}),
    ],
)
def test_headers_that_are_wrong(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ModelError):
        decode(with_header(change))


def test_every_cut_is_noticed() -> None:
    data = encode(MODEL)
    for length in range(len(data)):
        with pytest.raises(ModelError):
            decode(data[:length])
    with pytest.raises(ModelError):
        decode(data + b"\0")


def test_weights_that_are_not_finite() -> None:
    header, body = header_of(encode(MODEL))
    poisoned = bytearray(body)
    poisoned[-4:] = np.float32(np.nan).tobytes()
    with pytest.raises(ModelError, match="not finite"):
        decode(file_of(header, bytes(poisoned)))


def test_long_header_and_long_file_are_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(ModelError, match="too long"):
        decode(struct.pack("<Q", 2**63) + b"{}")
    monkeypatch.setattr(model_file, "MAX_MODEL_BYTES", 10)
    with pytest.raises(ModelError, match="larger"):
        decode(encode(MODEL))


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"PK\x03\x04" + b"\0" * 60])
def test_something_else(data: bytes) -> None:
    with pytest.raises(ModelError):
        decode(data)


TUNED = {
    "backbone.last.weight": np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1),
    "backbone.last.bias": np.arange(4, dtype=np.float32),
}


def test_control_variates_travel_with_it() -> None:
    control = Control(SoftmaxHead(MODEL.weight * 2, MODEL.bias * 3))
    data = encode(replace(MODEL, control=control))
    found = decode(data)
    assert found.control is not None
    assert np.array_equal(found.control.head.weight, control.head.weight)
    assert np.array_equal(found.control.head.bias, control.head.bias)
    assert encode(found) == data
    assert decode(encode(MODEL)).control is None


def test_control_variates_that_do_not_fit() -> None:
    for bad in (
        SoftmaxHead(MODEL.weight[:-1], MODEL.bias),
        SoftmaxHead(MODEL.weight * np.float32("nan"), MODEL.bias),
    ):
        with pytest.raises(ModelError):
            encode(replace(MODEL, control=Control(bad)))
    whole = encode(replace(MODEL, control=Control(SoftmaxHead(MODEL.weight, MODEL.bias))))
    with pytest.raises(ModelError):
        decode(whole.replace(b"control.bias", b"control.bing"))


def test_what_learns_of_the_backbone_travels_with_it() -> None:
    control = Control(MODEL.head, {name: tensor + 1 for name, tensor in TUNED.items()})
    data = encode(replace(MODEL, tuned=TUNED, control=control))
    found = decode(data)
    assert found.control is not None
    assert list(found.tuned) == list(found.control.tuned) == list(TUNED)
    for name, tensor in TUNED.items():
        assert np.array_equal(found.tuned[name], tensor)
        assert np.array_equal(found.control.tuned[name], tensor + 1)
    assert encode(found) == data
    assert found.layout.names == (*TUNED, "head.weight", "head.bias")
    assert same(found.with_tensors(found.layout.unflatten(found.layout.flatten(found.tensors))), replace(found))


def test_the_backbones_tensors_have_a_hash_of_their_own() -> None:
    assert MODEL.tuned_sha256 == ""
    one, other = (replace(MODEL, tuned={**TUNED, "backbone.last.bias": np.full(4, x, np.float32)}) for x in (1, 2))
    assert one.tuned_sha256 not in ("", other.tuned_sha256)
    assert replace(one, weight=MODEL.weight * 2).tuned_sha256 == one.tuned_sha256


@pytest.mark.parametrize(
    "tensors",
    [
        {"backbone.last.bias": np.full(4, np.inf, np.float32)},
        {"elsewhere.bias": np.zeros(4, np.float32)},
        {"backbone.last bias": np.zeros(4, np.float32)},
        {"backbone.empty": np.zeros((0, 4), np.float32)},
        {"backbone.deep": np.zeros((1, 1, 1, 1, 1), np.float32)},
    ],
)
def test_what_is_no_tensor_of_a_backbone(tensors: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        encode(replace(MODEL, tuned=tensors))


def test_control_variates_are_of_all_that_learns() -> None:
    whole = replace(MODEL, tuned=TUNED)
    with pytest.raises(ModelError):
        encode(replace(whole, control=Control(MODEL.head)))
    header, body = header_of(encode(replace(whole, control=Control(MODEL.head, TUNED))))
    del header["control.backbone.last.bias"]
    with pytest.raises(ModelError):
        decode(file_of(header, body))


@pytest.mark.parametrize("shape", [[], [4, 0], [1, 1, 1, 1, 4], [2**40]])
def test_a_backbones_tensor_of_a_shape_that_none_has(shape: list[int]) -> None:
    header, body = header_of(encode(replace(MODEL, tuned=TUNED)))
    header["backbone.last.bias"]["shape"] = shape
    with pytest.raises(ModelError):
        decode(file_of(header, body))
