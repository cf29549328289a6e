"""A whole federation of real processes whose backbone learns: what the sum says, and who can use what comes of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from fanlight.cli import main as fanlight
from fanlight.core.adaptive_clip import FIRST_CLIP
from fanlight.core.quantise import clip
from fanlight.core.segments import quantisation_steps
from fanlight.learning.model_file import HeadModel, decode
from fanlight.services.main_server.fine_tuning import MOST_PICTURES
from fanlight.services.main_server.version_files import MODELS_FOLDER, read_version
from tests.e2e.test_demo import LIMIT_S, Demo

N_MAX = 1000


@pytest.fixture(params=["1:learning_rate=0.001", "1:batch_norm=local,learning_rate=0.001"], scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One round of two devices with pictures of other classes each; steps that are long beside the grid."""
    state = tmp_path_factory.mktemp("demo")
    demo = Demo(
        state, "--dataset", "shapes", "--devices", 2, "--rounds", 1, "--fine-tune", request.param, "--exit", "--json"
    )
    try:
        code, out = demo.wait()
        assert code == 0, demo.errors.read_text()
        (only,) = json.loads(out)["rounds"]
        assert only["participants"] == 2
        assert only["accuracy_after"] > only["accuracy_before"]
        assert min(only["local_accuracy"].values()) > only["accuracy_before"]
        yield _run_of(state)
    finally:
        demo.close()


def _run_of(state: Path) -> Path:
    (found,) = state.rglob("run-1")
    return found


def versions(folder: Path) -> list[HeadModel]:
    database = next(folder.rglob("main/state.sqlite3"))
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT sha256 FROM models ORDER BY version").fetchall()
    return [decode(read_version(database.parent / MODELS_FOLDER, sha256)) for (sha256,) in rows]


def vector(model: HeadModel) -> NDArray[np.float64]:
    return model.layout.flatten(model.tensors)


def local_of(folder: Path, name: str) -> HeadModel:
    (file,) = (folder / name / "models").glob("local-*.safetensors")
    return decode(file.read_bytes())


@pytest.mark.timeout(2 * LIMIT_S)
def test_the_new_version_is_the_mean_of_what_the_devices_learned(folder: Path) -> None:
    """To the grid on which the devices have rounded: a step of it for each of them, as drawn by lot."""
    before, after = versions(folder)
    assert len(before.tuned) in (8, 24)
    names = ("device-1", "device-2")
    pictures = [_training_pictures(folder, name) for name in names]
    home = np.concatenate([np.full(spec.size, ".norm." in spec.name) for spec in before.layout.specs])
    updates = []
    for name in names:
        local = local_of(folder, name)
        assert local.layout == before.layout
        update = np.where(home, 0.0, vector(local) - vector(before))
        updates.append(clip(update, FIRST_CLIP).vector)
        own = vector(local)[home]
        assert not home.any() or not np.array_equal(own, vector(before)[home])
    mean = np.average(updates, axis=0, weights=pictures)
    unit = MOST_PICTURES * FIRST_CLIP / quantisation_steps(N_MAX) / sum(pictures)
    moved = vector(after) - vector(before)
    assert np.abs(moved - mean).max() <= 2 * unit + 1e-6
    backbone = np.concatenate([np.full(spec.size, spec.name.startswith("backbone.")) for spec in before.layout.specs])
    assert np.abs(mean[backbone]).max() > 10 * unit
    assert not np.any(moved[home])


def _training_pictures(folder: Path, name: str) -> int:
    (pictures,) = (folder.parent / "pictures").iterdir()
    return min(len(list((pictures / name / "train").rglob("*.png"))), MOST_PICTURES)


@pytest.mark.timeout(2 * LIMIT_S)
def test_predict_and_export_are_of_the_backbone_that_has_learned(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = next(path for path in folder.parent.rglob("*.png") if "test" in path.parts)
    main = str(next(folder.rglob("main/state.sqlite3")).parent)
    _do("predict", "--json", "--state", main, str(picture))
    (answer,) = json.loads(capsys.readouterr().out)
    _do("export", "--state", main, "--out", str(tmp_path))
    session = onnxruntime.InferenceSession(str(tmp_path / "fanlight-model-1.onnx"))
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))[None]
    probabilities = session.run(["probabilities"], {"images": pixels})[0][0]
    np.testing.assert_allclose(probabilities, list(answer["scores"].values()), atol=2e-3)
    assert "The backbone has learned too" in (tmp_path / "fanlight-model-1.md").read_text()


def _do(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        fanlight(list(words))
    assert ended.value.code == 0
