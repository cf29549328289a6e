"""A backbone cut in two: what learns, that nothing changes by cutting it, and that it is compiled back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning import mobilenet_v2, tuned_backbone
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.features import open_session
from fanlight.learning.onnx_file import Graph, Port, labelled, labels, replaced
from fanlight.learning.onnx_reading import read_graph
from fanlight.learning.tuned_backbone import (
    ALL,
    EPSILON,
    NORM,
    BatchNorm,
    Cut,
    MadeBackbone,
    compiled_back,
    cut,
    cut_of,
    normalisation,
)
from tests.unit.learning.mobilenet_v2_by_hand import HOUSES, random_weights, spoken

SIZE = 48
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compile_backbone("efficientnet-lite0", tmp_path_factory.mktemp("backbones")).read()


@pytest.fixture(scope="module")
def pictures() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)


def features(graph: bytes, pictures: Pixels) -> NDArray[np.float32]:
    found: NDArray[np.float32] = open_session(graph, 1).run(["features"], {"pictures": pictures})[0]
    return found


def in_two(parts: Cut, tensors: tuned_backbone.Tensors, pictures: Pixels) -> NDArray[np.float32]:
    rows = features(parts.front(SIZE).read(), pictures)
    assert rows.shape == (len(pictures), parts.front(SIZE).features)
    activations = {"activations": rows.reshape(-1, *parts.shape(SIZE))}
    found: NDArray[np.float32] = open_session(parts.tail_graph(tensors), 1).run(["features"], activations)[0]
    return found


def shaken(parts: Cut, kind: BatchNorm) -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(5)
    return {
        name: np.abs(x * draw.uniform(0.9, 1.1, x.shape)).astype(np.float32) if "norm.running_var" in name
        else (x * draw.uniform(0.9, 1.1, x.shape)).astype(np.float32)
        for name, x in parts.start(kind).items()
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(BatchNorm))
@pytest.mark.parametrize("blocks", [1, 2, 3, 16, ALL])
def test_both_parts_together_are_the_whole(lite0: bytes, pictures: Pixels, blocks: int, kind: BatchNorm) -> None:
    parts = cut("lite0", lite0, 1280, blocks)
    whole = features(lite0, pictures)
    np.testing.assert_allclose(in_two(parts, parts.start(kind), pictures), whole, atol=1e-4)
    if kind is BatchNorm.FROZEN:
        assert compiled_back(lite0, parts.start(kind)) == lite0


@pytest.mark.parametrize("kind", list(BatchNorm))
@pytest.mark.parametrize("blocks", [1, ALL])
def test_what_has_learned_is_compiled_back(lite0: bytes, pictures: Pixels, blocks: int, kind: BatchNorm) -> None:
    parts = cut("lite0", lite0, 1280, blocks)
    tensors = shaken(parts, kind)
    whole = compiled_back(lite0, tensors)
    assert np.abs(features(whole, pictures) - features(lite0, pictures)).max() > 0.1
    np.testing.assert_allclose(features(whole, pictures), in_two(parts, tensors, pictures), atol=1e-3)
    assert parts.check(tensors) is kind


@pytest.mark.parametrize("blocks", [1, 2, 15, 16, ALL])
def test_where_it_was_cut_is_known_by_the_tensors(lite0: bytes, blocks: int) -> None:
    parts = cut("lite0", lite0, 1280, blocks)
    for kind in BatchNorm:
        found = cut_of(MadeBackbone("lite0", 1280, lite0), parts.start(kind))
        assert (found.place, found.value) == (parts.place, parts.value)
    with pytest.raises(ModelError):
        cut_of(MadeBackbone("lite0", 1280, lite0), {"backbone._conv_head.weight": np.zeros((1, 1, 1, 1), np.float32)})
    with pytest.raises(ModelError):
        cut_of(MadeBackbone("lite0", 1280, lite0), {})


def test_the_last_block_and_the_convolution_behind_it(lite0: bytes) -> None:
    names = cut("lite0", lite0, 1280, 1).layout(BatchNorm.FROZEN).names
    convolutions = ("_blocks.15._expand_conv", "_blocks.15._depthwise_conv", "_blocks.15._project_conv", "_conv_head")
    assert names == tuple(f"backbone.{conv}.{part}" for conv in convolutions for part in ("weight", "bias"))


@pytest.mark.parametrize("house", HOUSES)
@pytest.mark.parametrize("blocks", [1, 3, 17, ALL])
def test_a_mobilenet_of_every_house(pictures: Pixels, house: str, blocks: int) -> None:
    graph = mobilenet_v2.build(spoken(random_weights(), house))
    parts = cut("mine", graph, 1280, blocks)
    tensors = parts.start(BatchNorm.LOCAL)
    whole = features(graph, pictures)
    np.testing.assert_allclose(in_two(parts, tensors, pictures), whole, rtol=1e-3, atol=1e-3)
    layout = parts.layout(BatchNorm.LOCAL)
    assert normalisation(layout) == {name for name in layout.names if name.endswith(NORM)}
    assert not normalisation(parts.layout(BatchNorm.FROZEN))


def test_features_of_several_levels_learn_as_a_whole_or_not(tmp_path: Path) -> None:
    graph = compile_backbone("efficientnet-lite0-levels", tmp_path).read()
    with pytest.raises(ModelError, match="several levels"):
        cut("levels", graph, 2024, 1)
    parts = cut("levels", graph, 2024, ALL)
    assert compiled_back(graph, parts.start(BatchNorm.FROZEN)) == graph


@pytest.mark.parametrize("blocks", [17, 1000, -1])
def test_more_blocks_than_there_are(lite0: bytes, blocks: int) -> None:
    with pytest.raises(ModelError, match="16 blocks"):
        cut("lite0", lite0, 1280, blocks)


def test_a_backbone_of_other_layers_does_not_learn() -> None:
    graph = Graph("g", [Port("pictures", np.uint8, ("n", "h", "w", 3))], [Port("features", np.float32, ("n", 3))])
    graph.node("QuantizeLinear", ["pictures"], "features")
    with pytest.raises(ModelError, match="QuantizeLinear"):
        cut("int8", graph.encode(), 3, 1)


def test_a_normalisation_is_folded(lite0: bytes) -> None:
    parts = cut("lite0", lite0, 1280, 1)
    tensors = parts.start(BatchNorm.LOCAL)
    name, gamma, beta, mean, variance = "backbone._conv_head.", 2.0, 0.5, 0.25, 4.0
    for part, value in zip(NORM, (gamma, beta, mean, variance), strict=True):
        tensors[name + part] = np.full(1280, value, np.float32)
    before, after = (read_graph(graph).constants for graph in (lite0, compiled_back(lite0, tensors)))
    scale = gamma / np.sqrt(variance + EPSILON)
    kernel, bias = "_conv_head.weight", "_conv_head.bias"
    np.testing.assert_allclose(after[kernel], before[kernel] * scale, rtol=1e-6)
    np.testing.assert_allclose(after[bias], (before[bias] - mean) * scale + beta, rtol=1e-5, atol=1e-6)
    assert np.array_equal(after["_conv_stem.weight"], before["_conv_stem.weight"])


def test_only_convolutions_of_this_backbone_are_replaced(lite0: bytes) -> None:
    parts = cut("lite0", lite0, 1280, 1)
    tensors = parts.start(BatchNorm.LOCAL)
    flaws: list[dict[str, NDArray[np.float32]]] = [
        {**tensors, "backbone.feature_scale": np.ones((1280, 1, 1), np.float32)},
        {**tensors, "backbone._conv_head.bias": np.ones(7, np.float32)},
        {name: x for name, x in tensors.items() if name != "backbone._conv_head.bias"},
        {name: x for name, x in tensors.items() if name != "backbone._conv_head.norm.running_var"},
    ]
    for flawed in flaws:
        with pytest.raises(ModelError):
            compiled_back(lite0, flawed)
        with pytest.raises(ModelError):
            parts.check(flawed)


def test_other_constants_and_all_else_as_it_is(lite0: bytes) -> None:
    graph = labelled(lite0, {"a": "b"})
    bias = np.arange(1280, dtype=np.float32)
    changed = replaced(graph, {"_conv_head.bias": bias})
    assert len(changed) == len(graph)
    assert labels(changed) == {"a": "b"}
    found = read_graph(changed)
    assert np.array_equal(found.constants["_conv_head.bias"], bias)
    assert found.nodes == read_graph(graph).nodes
    assert replaced(changed, {"_conv_head.bias": read_graph(graph).constants["_conv_head.bias"]}) == graph
    with pytest.raises(ModelError, match="nowhere"):
        replaced(graph, {"nowhere": bias})


@pytest.mark.parametrize("length", [1, 100, 5000, 1_000_000])
def test_a_graph_that_is_cut_off(lite0: bytes, length: int) -> None:
    with pytest.raises(ModelError):
        cut("lite0", lite0[:length], 1280, 1)
