"""A backbone in 8-bit integers: what stays, what it may become a part of. Accuracy and speed: benchmarks/int8.py."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.features import open_session
from fanlight.learning.int8 import quantise
from fanlight.learning.onnx_file import Graph, Port, labels
from tests.unit.learning import backbone_reference

SIZE = 64
PICTURES = backbone_reference.draw(SIZE)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compile_backbone("efficientnet-lite0", tmp_path_factory.mktemp("backbone")).read()


@pytest.fixture(scope="module")
def small(graph: bytes) -> bytes:
    return quantise(graph, [PICTURES[:1], PICTURES[1:]])


def run(graph: bytes, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = open_session(graph, threads=1).run(["features"], {"pictures": pictures})[0]
    return features


def test_it_is_smaller_and_its_features_point_the_same_way(graph: bytes, small: bytes) -> None:
    assert len(small) < len(graph) / 3
    ours, theirs = run(small, PICTURES), run(graph, PICTURES)
    cosine = np.sum(ours * theirs, axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.95
    assert np.abs(ours - theirs).max() > 0.01  # it is another backbone indeed


def test_it_has_the_ports_of_every_backbone_and_serves_every_size(small: bytes) -> None:
    session = open_session(small, threads=1)
    assert [port.name for port in session.get_outputs()] == ["features", "map"]
    assert run(small, backbone_reference.draw(96)).shape == (2, 1280)


def test_weights_have_a_scale_for_each_channel_and_words_of_the_maker_are_gone(small: bytes) -> None:
    model = onnx.load_from_string(small)
    onnx.checker.check_model(model, full_check=True)
    assert labels(small) == {}
    kinds = {node.op_type for node in model.graph.node}
    assert {"Conv", "QuantizeLinear", "DequantizeLinear"} <= kinds
    assert "Clip" not in kinds
    assert "QLinearConv" not in kinds
    scales = [constant for constant in model.graph.initializer if constant.name.endswith("_conv_stem.weight_scale")]
    assert [list(constant.dims) for constant in scales] == [[32]]


def test_it_can_be_a_part_of_an_exported_model(small: bytes) -> None:
    graph = Graph("outer", [Port("images", np.uint8, ("n", "h", "w", 3))], [Port("twice", np.float32, ("n", 1280))])
    graph.node("Identity", ["images"], "pictures")
    graph.include(small)
    graph.node("Add", ["features", "features"], "twice")
    (twice,) = open_session(graph.encode(), threads=1).run(None, {"images": PICTURES})
    np.testing.assert_allclose(twice, 2 * run(small, PICTURES), atol=1e-5)


def test_equal_pictures_give_equal_bytes_and_nobody_is_warned(
    graph: bytes, small: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert quantise(graph, [PICTURES[:1], PICTURES[1:]]) == small
    assert caplog.messages == []


def test_what_cannot_be_made_smaller(small: bytes, graph: bytes) -> None:
    with pytest.raises(ModelError, match="already") as refused:
        quantise(small, [PICTURES])
    assert refused.value.next == "Give the one that it was made from."
    with pytest.raises(ModelError, match="damaged"):
        quantise(graph[:-5], [PICTURES])
