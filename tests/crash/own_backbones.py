"""Backbones of the operator's own, for federations that are to be large in something or small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from fanlight.learning.architectures import compile_weights
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT, INPUT
from fanlight.learning.onnx_file import Graph, Port
from fanlight.learning.own_backbones import Description, label
from tests.unit.learning.mobilenet_v2_by_hand import random_weights

_TILE = 8


def large(folder: Path) -> Path:
    """A MobileNetV2 of 9 MB: it is downloaded in many pieces."""
    save_file(random_weights(), folder / "weights.safetensors")
    path = folder / "garden-v2.onnx"
    made = compile_weights("mobilenet-v2", folder / "weights.safetensors", name="garden-v2", licence="CC-BY-4.0")
    path.write_bytes(made)
    return path


def small(folder: Path, picture_size: int) -> Path:
    """The mean colours of tiles: so few features that sums over them are small, and are solved in milliseconds."""
    features = 3 * (picture_size // _TILE) ** 2
    shape = ("n", "h", "w", 3)
    graph = Graph("tiles", [Port(INPUT, np.uint8, shape)], [Port(FEATURES_OUTPUT, np.float32, ("n", features))])
    planes = graph.node("Transpose", [graph.node("Cast", [INPUT], "pixels", to=1)], "planes", perm=(0, 3, 1, 2))
    tiles = graph.node("AveragePool", [planes], "tiles", kernel_shape=(_TILE, _TILE), strides=(_TILE, _TILE))
    graph.node("Flatten", [tiles], FEATURES_OUTPUT, axis=1)
    path = folder / "tiles.onnx"
    path.write_bytes(label(graph.encode(), Description("tiles", "Mean colours of tiles", "CC0-1.0", features)))
    return path
