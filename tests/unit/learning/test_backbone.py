"""The compiled network against numbers that PyTorch computed, and the rules in the module's text."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import ModelError
from fanlight.learning import efficientnet_lite0
from fanlight.learning.backbones import BACKBONES
from fanlight.learning.checkpoint import locate, read_pinned
from fanlight.learning.efficientnet_lite0 import blocks, build, feature_statistics
from fanlight.learning.features import open_session
from tests.requirements import require
from tests.unit.learning import backbone_reference as reference

TABBY_TIGER_OR_EGYPTIAN_CAT = {281, 282, 285}
ESPRESSO = {967}


@cache
def weights() -> dict[str, NDArray[Any]]:
    source = BACKBONES["efficientnet-lite0"].source
    return read_pinned(locate(source), source)


@cache
def classifier() -> ort.InferenceSession:
    return open_session(build(weights(), logits=True), threads=2)


def photo(name: str) -> NDArray[np.uint8]:
    """(1, 224, 224, 3): the middle square of a photo."""
    image = Image.open(require("skimage-data") / name).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.resize((224, 224), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(square)[None]


@pytest.mark.parametrize("size", reference.SIZES)
def test_graph_agrees_with_the_original(size: int) -> None:
    numbers = reference.expected()[str(size)]
    features, logits = classifier().run(["features", "logits"], {"pictures": reference.draw(size)})
    mean, deviation = feature_statistics(weights())
    pooled = features * deviation + mean
    np.testing.assert_allclose(logits[:, reference.LOGITS], numbers["logits"], atol=reference.TOLERANCE)
    np.testing.assert_allclose(pooled[:, reference.FEATURES], numbers["features"], atol=reference.TOLERANCE)


@pytest.mark.parametrize(("name", "classes"), [("chelsea.png", TABBY_TIGER_OR_EGYPTIAN_CAT), ("coffee.png", ESPRESSO)])
def test_knows_a_cat_and_a_cup_of_coffee(name: str, classes: set[int]) -> None:
    (logits,) = classifier().run(["logits"], {"pictures": photo(name)})
    assert set(np.argsort(-logits[0])[: len(classes)].tolist()) == classes


@pytest.mark.parametrize(("height", "width"), [(96, 96), (128, 96), (100, 65), (32, 32), (33, 1)])
def test_one_graph_serves_every_size_and_features_are_the_mean_of_the_map(height: int, width: int) -> None:
    pictures = np.zeros((3, height, width, 3), np.uint8)
    pictures[1] = 255
    features, places = classifier().run(["features", "map"], {"pictures": pictures})
    assert places.shape == (3, 1280, -(-height // 32), -(-width // 32))
    np.testing.assert_allclose(features, places.mean((2, 3)), atol=1e-5)


def test_pictures_of_a_batch_do_not_influence_each_other() -> None:
    pictures = reference.draw(64)
    (together,) = classifier().run(["features"], {"pictures": pictures})
    (alone,) = classifier().run(["features"], {"pictures": pictures[1:]})
    np.testing.assert_allclose(together[1:], alone, atol=1e-4)


def test_colours_are_read_in_the_order_red_green_blue() -> None:
    pictures = reference.draw(96)
    logits, swapped = (classifier().run(["logits"], {"pictures": p})[0] for p in (pictures, pictures[..., ::-1].copy()))
    assert np.abs(logits - swapped).max() > 0.5


def test_only_bytes_are_taken_as_pictures() -> None:
    with pytest.raises(Exception, match="Unexpected input data type"):
        classifier().run(["features"], {"pictures": np.zeros((1, 64, 64, 3), np.float32)})


def test_architecture_is_the_published_one() -> None:
    all_blocks = list(blocks())
    assert len(all_blocks) == 16
    assert [block.number for block in all_blocks if block.stride == 2] == [1, 3, 5, 11]
    assert [block.skip for block in all_blocks].count(True) == 9
    assert all(a.outputs == b.inputs for a, b in pairwise(all_blocks))
    assert all_blocks[-1].outputs == 320


def test_the_product_leaves_the_classifier_out() -> None:
    names = [port.name for port in open_session(build(weights()), threads=1).get_outputs()]
    assert names == ["features", "map"]
    assert len(build(weights())) < len(build(weights(), logits=True)) - 4 * 1280 * 1000


def test_missing_and_misshapen_tensors_are_errors() -> None:
    name = "_blocks.3._depthwise_conv.weight"
    without = {key: value for key, value in weights().items() if key != name}
    with pytest.raises(ModelError, match=f"{name}, but has nothing"):
        build(without)
    with pytest.raises(ModelError, match=r"but has float32 \(144, 5, 5\)"):
        build({**weights(), name: weights()[name][:, 0]})
    with pytest.raises(ModelError, match="but has float64"):
        build({**weights(), name: weights()[name].astype(np.float64)})


def test_statistics_are_positive_and_shared_by_nobody_s_pictures() -> None:
    mean, deviation = feature_statistics(weights())
    assert mean.shape == deviation.shape == (efficientnet_lite0.FEATURES,)
    assert np.isfinite(mean).all()
    assert (deviation > 0.1).all()
