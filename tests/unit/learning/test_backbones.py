from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fanlight.errors import ModelError, SettingsError, StorageError
from fanlight.learning import backbones
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE, backbone, compile_backbone
from fanlight.learning.checkpoint import locate
from fanlight.learning.efficientnet_lite0 import LEVELS
from fanlight.learning.features import FeatureExtractor


def test_compiling_gives_the_registered_bytes_every_time(tmp_path: Path) -> None:
    first = compile_backbone(DEFAULT_BACKBONE, tmp_path / "a")
    second = compile_backbone(DEFAULT_BACKBONE, tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes() == first.read()
    assert hashlib.sha256(first.read()).hexdigest() == first.sha256 == BACKBONES[DEFAULT_BACKBONE].compiled_sha256
    assert first.features == 1280


def test_features_of_several_levels_begin_with_the_usual_ones(tmp_path: Path) -> None:
    usual, levels = (compile_backbone(name, tmp_path) for name in (DEFAULT_BACKBONE, "efficientnet-lite0-levels"))
    assert (usual.features, levels.features) == (1280, 2024)
    pictures = np.random.default_rng(1).integers(0, 256, (3, 64, 96, 3), np.uint8)
    pictures[0] //= 4
    less, more = (FeatureExtractor(each, 64).run(pictures) for each in (usual, levels))
    assert more.shape == (3, 2024)
    assert np.allclose(more[:, :1280], less, atol=1e-5)
    assert np.isfinite(more).all()
    for start, stop in itertools.pairwise(itertools.accumulate((1280, *LEVELS))):
        assert 0.1 < more[:, start:stop].std() < 10, "no level drowns the others"


def test_file_and_folder_are_the_owner_s_alone(tmp_path: Path) -> None:
    compiled = compile_backbone(DEFAULT_BACKBONE, tmp_path / "new" / "folder")
    assert compiled.path.stat().st_mode & 0o777 == 0o600
    assert compiled.path.parent.stat().st_mode & 0o777 == 0o700
    assert list(compiled.path.parent.iterdir()) == [compiled.path]


def test_a_good_file_is_used_again(tmp_path: Path) -> None:
    before = compile_backbone(DEFAULT_BACKBONE, tmp_path).path.stat()
    after = compile_backbone(DEFAULT_BACKBONE, tmp_path, checkpoint=tmp_path / "not needed").path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_a_damaged_file_is_made_again(damage: bytes | None, tmp_path: Path) -> None:
    compiled = compile_backbone(DEFAULT_BACKBONE, tmp_path)
    good = compiled.read()
    compiled.path.write_bytes(good[:-1] + b"\xff" if damage is None else damage)
    with pytest.raises(ModelError, match="damaged"):
        compiled.read()
    assert compile_backbone(DEFAULT_BACKBONE, tmp_path).read() == good


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    compiled = compile_backbone(DEFAULT_BACKBONE, tmp_path)
    compiled.path.unlink()
    with pytest.raises(ModelError, match=str(compiled.path)):
        compiled.read()


def test_the_checkpoint_can_be_a_local_file(tmp_path: Path) -> None:
    local = tmp_path / "downloaded.pth"
    shutil.copyfile(locate(backbone(DEFAULT_BACKBONE).source), local)
    compiled = compile_backbone(DEFAULT_BACKBONE, tmp_path / "compiled", checkpoint=local)
    assert compiled.sha256 == hashlib.sha256(compiled.read()).hexdigest()


def test_unknown_backbone_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no-such-net") as caught:
        compile_backbone("no-such-net", tmp_path)
    assert "efficientnet-lite0" in caught.value.next


def test_a_graph_that_is_not_the_registered_one_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(BACKBONES[DEFAULT_BACKBONE], build=lambda weights: b"another graph")
    monkeypatch.setattr(backbones, "BACKBONES", {DEFAULT_BACKBONE: changed})
    with pytest.raises(ModelError, match="another graph than expected"):
        compile_backbone(DEFAULT_BACKBONE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="File exists"):
        compile_backbone(DEFAULT_BACKBONE, tmp_path / "file")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, __: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="No room left"):
        compile_backbone(DEFAULT_BACKBONE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_servers_can_read_the_registry_without_the_runtime() -> None:
    program = (
        "import sys, fanlight.learning.backbones; sys.exit('onnxruntime' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
