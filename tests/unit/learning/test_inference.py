from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fanlight.errors import ModelError, PictureError
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.features import FeatureExtractor
from fanlight.learning.inference import Predictor
from fanlight.learning.model_file import HeadModel
from tests.unit.learning import backbone_reference

SIZE = 64


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> FeatureExtractor:
    return FeatureExtractor(compile_backbone("efficientnet-lite0", tmp_path_factory.mktemp("backbone")), SIZE)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "ring.png", tmp_path / "board.png"]
    for path, pixels in zip(paths, backbone_reference.draw(SIZE), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def model(extractor: FeatureExtractor, photos: list[Path]) -> HeadModel:
    """A head that scores each picture's own direction."""
    weight = (extractor.extract(photos).T / 1280).astype(np.float32)
    backbone = extractor.backbone
    return HeadModel("t", 1, ("ring", "board"), backbone.id, backbone.sha256, SIZE, weight, np.zeros(2, np.float32))


def test_predicts_with_the_classes_of_the_model(
    model: HeadModel, extractor: FeatureExtractor, photos: list[Path]
) -> None:
    predictor = Predictor(model, extractor)
    for path in photos:
        prediction = predictor.predict(path)
        assert prediction.label == path.stem
        assert list(prediction.scores) == ["ring", "board"]
        assert sum(prediction.scores.values()) == pytest.approx(1)
        assert prediction.confidence == max(prediction.scores.values()) > 0.5


def test_confidence_is_the_softmax_of_the_logits(
    model: HeadModel, extractor: FeatureExtractor, photos: list[Path]
) -> None:
    only_bias = replace(model, weight=np.zeros_like(model.weight), bias=np.log(np.array([3, 1], np.float32)))
    prediction = Predictor(only_bias, extractor).predict(photos[1])
    assert prediction.label == "ring"
    assert prediction.scores == pytest.approx({"ring": 0.75, "board": 0.25})


def test_large_logits_do_not_overflow(model: HeadModel, extractor: FeatureExtractor, photos: list[Path]) -> None:
    steep = replace(model, weight=np.zeros_like(model.weight), bias=np.array([1e4, -1e4], np.float32))
    assert Predictor(steep, extractor).predict(photos[0]).scores == {"ring": 1.0, "board": 0.0}


def test_a_head_is_never_put_on_another_backbone_or_size(model: HeadModel, extractor: FeatureExtractor) -> None:
    with pytest.raises(ModelError, match="backbone"):
        Predictor(replace(model, backbone_sha256="0" * 64), extractor)
    with pytest.raises(ModelError, match="128 px"):
        Predictor(replace(model, picture_size=128), extractor)


def test_a_head_of_another_width_is_refused(model: HeadModel, extractor: FeatureExtractor) -> None:
    with pytest.raises(ModelError, match="features"):
        Predictor(replace(model, weight=model.weight[:-1]), extractor)


def test_a_bad_picture_is_named(model: HeadModel, extractor: FeatureExtractor, tmp_path: Path) -> None:
    assert extractor.backbone.sha256 == model.backbone_sha256
    with pytest.raises(PictureError, match=r"gone\.png"):
        Predictor(model, extractor).predict(tmp_path / "gone.png")
