"""Weights from a folder as the hub's own programs leave it; no test asks the hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from fanlight.errors import ModelError
from fanlight.learning.architectures import compile_weights
from fanlight.learning.hub import weights_on_hub
from tests.unit.learning.mobilenet_v2_by_hand import random_weights, spoken

COMMIT, OTHER = "a" * 40, "b" * 40
PROGRAM = """
import sys
from fanlight.errors import ModelError
from fanlight.learning.hub import weights_on_hub
try:
    print(weights_on_hub(sys.argv[1]))
except ModelError as error:
    print("refused:", error.message)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """``garden/net``: a repository with two commits."""
    repository = tmp_path / "hub" / "models--garden--net"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for commit in (COMMIT, OTHER):
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        save_file(spoken(random_weights(ord(commit[0])), "timm"), snapshot / "model.safetensors")
    return tmp_path / "hub"


def asked(hub: Path, reference: str) -> str:
    """In a process of its own: the hub's package looks at its variables once."""
    environment = os.environ | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PROGRAM, reference]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_folder_in_the_hub_s_layout_is_read_without_the_hub(hub: Path) -> None:
    found = Path(asked(hub, "hf:garden/net"))
    assert found == hub / "models--garden--net" / "snapshots" / COMMIT / "model.safetensors"
    made = compile_weights("mobilenet-v2", found, name="garden", licence="MIT")
    other = asked(hub, f"hf:garden/net@{OTHER}")
    assert OTHER in other
    assert made != compile_weights("mobilenet-v2", Path(other), name="garden", licence="MIT")


def test_what_is_not_there_is_named(hub: Path) -> None:
    assert asked(hub, "hf:garden/other").startswith("refused: the hub does not give model.safetensors of garden/other")
    assert asked(hub, "hf:garden/net@v9").startswith("refused:")


@pytest.mark.parametrize(
    "reference", ["hf:", "hf:net", "hf:a/b/c", "garden/net", "hf:garden/net@", "hf:a /b", "hf:a/b@ "]
)
def test_what_names_nothing(reference: str) -> None:
    with pytest.raises(ModelError, match="names nothing"):
        weights_on_hub(reference)


def test_without_the_package_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="need the package huggingface_hub"):
        weights_on_hub("hf:garden/net")
