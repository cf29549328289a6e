"""Checkpoints made to harm: none gets to run anything, and a file that is not the pinned one is not even unpickled."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import ModelError
from fanlight.learning import checkpoint, torch_state
from fanlight.learning.backbones import BACKBONES, compile_backbone
from fanlight.learning.checkpoint import Pin, read_pinned
from fanlight.learning.torch_state import parse
from tests.unit.learning.legacy_file import MAGIC, SYSTEM, Tensor, dump
from tests.unit.learning.legacy_file import checkpoint as legacy

SOURCE = BACKBONES["efficientnet-lite0"].source

# PROTO 2, NONE, LONG_BINPUT 2**30 - 1, STOP: the unpickler makes its memo twice as long as the index, which takes
# 16 GB. No function is named, so no allow-list can see it.
BOMB = b"\x80\x02Nr\xff\xff\xff\x3f."


@pytest.fixture
def no_unpickling(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes the unpickler note that it was started, and stop."""
    started: list[str] = []

    def refuse(*_: Any) -> None:
        started.append("unpickler")
        raise AssertionError("the unpickler was started")

    monkeypatch.setattr(torch_state, "_Unpickler", refuse)
    return started


class Runs:
    """Calls ``function(*arguments)`` when unpickled by anyone careless."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_the_probe_sees_an_unpickler_that_starts(no_unpickling: list[str]) -> None:
    with pytest.raises(ModelError, match="damaged"):
        parse(legacy({}, {}))
    assert no_unpickling == ["unpickler"]


@pytest.mark.parametrize("data", [BOMB, b"", legacy({}, {})], ids=["bomb", "empty", "harmless"])
def test_foreign_bytes_never_reach_the_unpickler(data: bytes, tmp_path: Path, no_unpickling: list[str]) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not the file"):
        read_pinned(path, SOURCE)
    assert no_unpickling == []


def test_bomb_is_nine_bytes() -> None:
    assert len(BOMB) == 9


def test_bomb_padded_to_the_right_length_never_reaches_the_unpickler(tmp_path: Path, no_unpickling: list[str]) -> None:
    path = tmp_path / "model.pth"
    with path.open("wb") as file:
        file.write(BOMB)
        file.truncate(SOURCE.size)
    with pytest.raises(ModelError, match="not the file"):
        compile_backbone("efficientnet-lite0", tmp_path / "compiled", checkpoint=path)
    assert no_unpickling == []
    assert not (tmp_path / "compiled").exists()


def test_one_flipped_bit_in_the_numbers_is_refused(tmp_path: Path, no_unpickling: list[str]) -> None:
    data = bytearray(checkpoint.locate(SOURCE).read_bytes())
    data[-1] ^= 1
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not the file"):
        read_pinned(path, SOURCE)
    assert no_unpickling == []


def test_no_more_is_read_than_the_pinned_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digested: list[int] = []
    monkeypatch.setattr(hashlib, "sha256", lambda data: digested.append(len(data)))
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelError, match="not the file"):
        read_pinned(path, SOURCE)
    assert digested == []


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {}",)),
        (subprocess.check_output, (["touch", "{}"],)),
        (eval, ("open('{}', 'w')",)),
        (exec, ("open('{}', 'w')",)),
        (getattr, (pickle, "loads")),
        (__import__, ("os",)),
        (bytearray, (2**34,)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("place", ["header", "state", "order"])
def test_functions_outside_the_allow_list_do_not_run(
    function: Any, arguments: tuple[Any, ...], place: str, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    filled = [str(a).format(witness) if isinstance(a, str) else a for a in arguments]
    filled = [[word.format(witness) for word in a] if isinstance(a, list) else a for a in filled]
    attack = pickle.dumps(Runs(function, *filled), 2) if function is not getattr else dump(Runs(function, "x", "y"))
    header = [dump(MAGIC), dump(1001), dump(SYSTEM)]
    pieces = {
        "header": [attack],
        "state": [*header, attack],
        "order": [*header, dump({}), attack],
    }[place]
    data = b"".join(pieces)
    pin = Pin("any", "1", "any", len(data), hashlib.sha256(data).hexdigest())
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not allowed"):
        read_pinned(path, pin)  # even if somebody pinned it
    assert not witness.exists()


@pytest.mark.parametrize("name", ["os\nsystem", "torch\nload", "torch.storage\n_load_from_bytes", "builtins\neval"])
def test_a_name_alone_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="not allowed"):
        parse(b"\x80\x02c" + name.encode() + b"\n.")


@pytest.mark.parametrize(
    "name", ["torch\nFloatStorage", "torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict"]
)
def test_allowed_names_are_inert_when_misused(name: str) -> None:
    program = b"\x80\x02c" + name.encode() + b"\nX\x04\x00\x00\x00evil\x85R."  # name("evil")
    with pytest.raises(ModelError):
        parse(program)


def test_dotted_names_do_not_reach_through_an_allowed_one() -> None:
    with pytest.raises(ModelError, match="not allowed"):
        parse(b"\x80\x04\x8c\x0bcollections\x8c\x15OrderedDict.__class__\x93.")


def test_a_repeated_number_cannot_become_gigabytes() -> None:
    data = legacy({"w": Tensor("a", 1, (2**38,), (0,))}, {"a": [1]})
    with pytest.raises(ModelError, match="leaves its storage"):
        parse(data)
