"""The folded, torch-free graph against the original network in PyTorch, and the committed reference numbers too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray

from fanlight.learning import efficientnet_lite0
from fanlight.learning.backbones import BACKBONES
from fanlight.learning.checkpoint import locate, read_pinned
from fanlight.learning.features import open_session
from tests.unit.learning import backbone_reference

SOURCE = BACKBONES["efficientnet-lite0"].source
Floats = NDArray[np.float64]


def original(pictures: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Logits and pooled features of the original network, its weights read by PyTorch itself."""
    network = EfficientNet.from_name("efficientnet-lite0", image_size=pictures.shape[1])
    network.load_state_dict(torch.load(locate(SOURCE), weights_only=True, map_location="cpu"))
    network.eval()
    x = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.no_grad():
        return network(x).double().numpy(), network.extract_features(x).double().mean((2, 3)).numpy()


def test_reader_gives_the_tensors_that_torch_reads() -> None:
    ours = read_pinned(locate(SOURCE), SOURCE)
    theirs = torch.load(locate(SOURCE), weights_only=True, map_location="cpu")
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("size", [*backbone_reference.SIZES, 64, 100])
def test_graph_computes_what_torch_computes(size: int) -> None:
    pictures = backbone_reference.draw(size)
    weights = read_pinned(locate(SOURCE), SOURCE)
    session = open_session(efficientnet_lite0.build(weights, logits=True), threads=2)
    features, logits = session.run(["features", "logits"], {"pictures": pictures})
    mean, deviation = efficientnet_lite0.feature_statistics(weights)
    expected_logits, expected_features = original(pictures)
    np.testing.assert_allclose(logits, expected_logits, atol=2e-4)
    np.testing.assert_allclose(features, (expected_features - mean) / deviation, atol=2e-4)


@pytest.mark.parametrize("size", backbone_reference.SIZES)
def test_committed_numbers_are_the_originals(size: int) -> None:
    numbers = backbone_reference.expected()[str(size)]
    logits, features = original(backbone_reference.draw(size))
    np.testing.assert_allclose(numbers["logits"], logits[:, backbone_reference.LOGITS], atol=2e-4)
    np.testing.assert_allclose(numbers["features"], features[:, backbone_reference.FEATURES], atol=2e-4)
