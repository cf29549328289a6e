"""The exported file in somebody else's program: docs/export.md's own, which has ONNX Runtime and NumPy alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import ModelError
from fanlight.learning.backbones import BACKBONES, CompiledBackbone, compile_backbone
from fanlight.learning.export import to_onnx
from fanlight.learning.features import FeatureExtractor, open_session
from fanlight.learning.heads import HeadKind
from fanlight.learning.inference import Prediction, Predictor
from fanlight.learning.model_file import HeadModel
from tests.requirements import require
from tests.unit.learning import backbone_reference

SIZE = 64
CLASSES = ("ring", "Schächbrett", "<b>|,\"'")
SQUEEZED = 0.02  # probabilities of pictures that are squeezed once by Pillow, once by the graph
PROGRAM = Path(__file__).parents[3] / "docs" / "export.md"
SHOW_IMPORTS = "\nprint(sorted({name.split('.')[0] for name in sys.modules} & {'fanlight', 'PIL', 'torch', 'onnx'}))\n"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> CompiledBackbone:
    return compile_backbone("efficientnet-lite0", tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def model(backbone: CompiledBackbone) -> HeadModel:
    features = FeatureExtractor(backbone, SIZE).run(backbone_reference.draw(SIZE))
    weight = np.concatenate([features, features[:1] + features[1:]]).T / 1280
    bias = np.array([0.1, -0.1, 0], np.float32)
    return HeadModel("Straße", 7, CLASSES, backbone.id, backbone.sha256, SIZE, weight.astype(np.float32), bias)


@pytest.fixture(scope="module")
def exported(model: HeadModel, backbone: CompiledBackbone) -> bytes:
    return to_onnx(model, backbone)


def of_the_product(
    model: HeadModel, backbone: CompiledBackbone, images: NDArray[np.uint8], folder: Path
) -> list[Prediction]:
    predictor = Predictor(model, FeatureExtractor(backbone, SIZE))
    answers = []
    for number, pixels in enumerate(images):
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        answers.append(predictor.predict(path))
    return answers


def of_the_other_program(exported: bytes, images: NDArray[np.uint8], folder: Path) -> list[tuple[str, list[float]]]:
    """What the documented program prints, run where it finds nothing of ours."""
    [program] = re.findall(r"```python\n(.*?)```", PROGRAM.read_text(), re.DOTALL)
    (folder / "model.onnx").write_bytes(exported)
    np.save(folder / "images.npy", images)
    command = [sys.executable, "-I", "-c", program + SHOW_IMPORTS, "model.onnx", "images.npy"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=True)
    *lines, imported = done.stdout.splitlines()
    assert imported == "[]"
    words = [line.split() for line in lines]
    return [(row[0], [float(number) for number in row[1:]]) for row in words]


@pytest.mark.parametrize(
    ("height", "width", "tolerance"),
    [(SIZE, SIZE, 1e-5), (40, 50, SQUEEZED), (100, 150, SQUEEZED), (96, 33, SQUEEZED), (480, 640, SQUEEZED)],
)
def test_another_program_says_what_the_product_says(
    model: HeadModel,
    backbone: CompiledBackbone,
    exported: bytes,
    tmp_path: Path,
    height: int,
    width: int,
    tolerance: float,
) -> None:
    images = backbone_reference.draw(640)[:, :height, :width] if height != SIZE else backbone_reference.draw(SIZE)
    ours = of_the_product(model, backbone, images, tmp_path)
    theirs = of_the_other_program(exported, images, tmp_path)
    for our, (name, probabilities) in zip(ours, theirs, strict=True):
        assert name == our.label
        np.testing.assert_allclose(probabilities, list(our.scores.values()), atol=tolerance)


@pytest.mark.parametrize("kind", [HeadKind.ANALYTIC, HeadKind.PROTOTYPES])
def test_another_program_reads_features_as_a_solved_head_does(
    model: HeadModel, backbone: CompiledBackbone, tmp_path: Path, kind: HeadKind
) -> None:
    solved = replace(model, kind=kind)
    images = backbone_reference.draw(SIZE)
    ours = of_the_product(solved, backbone, images, tmp_path)
    theirs = of_the_other_program(to_onnx(solved, backbone), images, tmp_path)
    trained = of_the_product(model, backbone, images, tmp_path)
    for our, (name, probabilities), other in zip(ours, theirs, trained, strict=True):
        assert name == our.label
        np.testing.assert_allclose(probabilities, list(our.scores.values()), atol=1e-5)
        assert abs(our.scores[name] - other.scores[name]) > 1e-3, "the kind makes a difference here"


def test_a_photo_is_squeezed_as_the_product_squeezes_it(exported: bytes) -> None:
    """Levels of the square inside the graph against Pillow's: one off at most where it reduces in one step."""
    graph = onnx.load_from_string(exported)
    graph.graph.output.append(onnx.helper.make_tensor_value_info("pictures", onnx.TensorProto.UINT8, [None] * 4))
    session = open_session(graph.SerializeToString(), threads=1)
    photo = Image.open(require("skimage-data") / "chelsea.png").convert("RGB")
    for width, height in ((451, 300), (150, 190), (64, 64), (20, 63), (64, 200)):
        shown = photo.resize((width, height))
        [square] = session.run(["pictures"], {"images": np.asarray(shown)[None]})
        expected = np.asarray(shown.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        assert np.abs(square[0].astype(int) - expected).max() <= (0 if (width, height) == (SIZE, SIZE) else 1)


def test_the_file_is_a_valid_graph_that_says_what_it_is(exported: bytes, model: HeadModel) -> None:
    graph = onnx.load_from_string(exported)
    onnx.checker.check_model(graph, full_check=True)
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(said["classes"]) == list(CLASSES)
    assert (said["task"], said["version"], said["picture_size"]) == ("Straße", "7", "64")
    assert said["backbone_licence"] == BACKBONES["efficientnet-lite0"].licence
    assert said["backbone_sha256"] == model.backbone_sha256


def test_equal_models_give_equal_files(exported: bytes, model: HeadModel, backbone: CompiledBackbone) -> None:
    assert to_onnx(replace(model, weight=model.weight.copy()), backbone) == exported


def test_a_head_is_never_put_on_another_backbone(model: HeadModel, backbone: CompiledBackbone) -> None:
    with pytest.raises(ModelError, match="not on this backbone"):
        to_onnx(replace(model, backbone_sha256="0" * 64), backbone)
    with pytest.raises(ModelError, match="not on this backbone"):
        to_onnx(replace(model, weight=model.weight[1:]), backbone)


def test_servers_can_export_without_the_runtime() -> None:
    program = "import sys, fanlight.learning.export; sys.exit('onnxruntime' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
