"""MobileNetV2 (Sandler et al., arXiv 1801.04381, table 2, width 1.0), from weights that a person brings.

The same network has been published by several houses, which name its tensors differently and take different things for
granted: how pixels are scaled, how borders are padded, the epsilon of batch normalisation. A ``Dialect`` is all that;
a checkpoint is known by the name of its first convolution. ``inverted_bottlenecks`` says how the graph is written; its
ports are those of every backbone, 1280 features.

**Standardisation.** As for EfficientNet-Lite0, by statistics that come from no device: mean and deviation of the ReLU6
of each last channel, worked out from its batch normalisation. There are no drawings here, since the weights are not
known beforehand. A deviation below ``_LEAST`` counts as that: a channel that hardly ever fires would be blown up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fanlight.errors import ModelError
from fanlight.learning.feature_statistics import relu6_moments
from fanlight.learning.inverted_bottlenecks import (
    INPUT,
    Block,
    BlockNames,
    Conventions,
    Doubles,
    Names,
    Stage,
    Weights,
    Writer,
    blocks_of,
    open_graph,
    tensor,
)

FEATURES = 1280
STAGES = (
    Stage(3, 1, 1, 32, 16, 1),
    Stage(3, 2, 6, 16, 24, 2),
    Stage(3, 2, 6, 24, 32, 3),
    Stage(3, 2, 6, 32, 64, 4),
    Stage(3, 1, 6, 64, 96, 3),
    Stage(3, 2, 6, 96, 160, 3),
    Stage(3, 1, 6, 160, 320, 1),
)

_STEM = 32
_LEAST = 0.1
_HALVES = Conventions(pixel_mean=(127.5,), pixel_scale=(1 / 127.5,), epsilon=1e-3)
_IMAGENET = Conventions(
    pixel_mean=tuple(255 * mean for mean in (0.485, 0.456, 0.406)),
    pixel_scale=tuple(1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225)),
    epsilon=1e-5,
    centred=True,
)


@dataclass(frozen=True)
class Dialect:
    """How one house names the tensors, and what it takes for granted.

    Attributes:
        title: the house.
        conventions: scaling, padding, epsilon.
        stem, block, head: names of the first convolution, of each block's, of the last one.
        classifiers: what the linear layer behind it may be called.
    """

    title: str
    conventions: Conventions
    stem: Names
    block: Callable[[Block], BlockNames]
    head: Names
    classifiers: tuple[str, ...]


def build(weights: Weights, *, logits: bool = False) -> bytes:
    """The network as an ONNX file; equal weights give equal bytes.

    Args:
        weights: tensors of a checkpoint by name, as ``weight_files`` reads them.
        logits: add the checkpoint's own classifier as the output ``logits`` (N, K), for tests.

    Raises:
        ModelError: of no known house, or a tensor is missing or has another shape than the architecture says.
    """
    weights = _from_keras(weights)
    dialect = dialect_of(weights)
    classifier = next((name for name in dialect.classifiers if f"{name}.weight" in weights), "") if logits else ""
    classes = len(weights[f"{classifier}.weight"]) if classifier else None
    graph = open_graph("mobilenet-v2", FEATURES, classes)
    writer = Writer(graph, weights, dialect.conventions)
    x = writer.convolve(writer.scale_pixels(INPUT), dialect.stem, (_STEM, 3, 3, 3), stride=2)
    for block in blocks_of(STAGES):
        x = writer.block(x, block, dialect.block(block))
    x = writer.convolve(x, dialect.head, (FEATURES, STAGES[-1].outputs, 1, 1))
    writer.standardise(x, *feature_statistics(weights, dialect))
    if classes is not None:
        writer.classify(x, classifier, classes, FEATURES)
    return graph.encode()


def feature_statistics(weights: Weights, dialect: Dialect) -> tuple[Doubles, Doubles]:
    """Mean and deviation, (1280,) each, by which the graph standardises its features; see the module's text."""
    gamma, beta = (tensor(weights, f"{dialect.head.norm}.{part}", (FEATURES,)) for part in ("weight", "bias"))
    mean, deviation = relu6_moments(beta, np.abs(gamma))
    return mean, np.maximum(deviation, _LEAST)


def dialect_of(weights: Weights) -> Dialect:
    """The house that these weights come from.

    Raises:
        ModelError: none of those that are known.
    """
    for dialect in _DIALECTS:
        if f"{dialect.stem.conv}.weight" in weights:
            return dialect
    raise ModelError(
        "these are not the weights of a MobileNetV2 as any known house names them",
        next="It reads those of " + ", ".join(dialect.title for dialect in _DIALECTS) + ".",
    )


def _from_keras(weights: Weights) -> Weights:
    """Keras's tensors in PyTorch's form: other names, and output channels first; others as they are."""
    if "Conv1/kernel" not in weights:
        return weights
    parts = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    found = {}
    for name, values in weights.items():
        layer, _, part = name.rpartition("/")
        turned = values
        if part in ("kernel", "depthwise_kernel"):
            part = "weight"
            if values.ndim == 4:
                turned = values.transpose((2, 3, 0, 1) if layer.endswith("depthwise") else (3, 2, 0, 1))
            elif values.ndim == 2:
                turned = values.T
        found[f"{layer}.{parts.get(part, part)}"] = turned
    return found


def _keras(block: Block) -> BlockNames:
    name = f"block_{block.number}" if block.number else "expanded_conv"
    parts = (f"{name}_{part}" for part in ("expand", "depthwise", "project"))
    return BlockNames(name, *(Names(part, f"{part}_BN") for part in parts))


def _torchvision(block: Block) -> BlockNames:
    name = f"features.{block.number + 1}"
    first = f"{name}.conv"
    if block.expand == 1:
        return BlockNames(name, Names("", ""), Names(f"{first}.0.0", f"{first}.0.1"), Names(f"{first}.1", f"{first}.2"))
    expand, depthwise = (Names(f"{first}.{place}.0", f"{first}.{place}.1") for place in (0, 1))
    return BlockNames(name, expand, depthwise, Names(f"{first}.2", f"{first}.3"))


def _timm(block: Block) -> BlockNames:
    name = f"blocks.{block.stage}.{block.repeat}"
    parts = ("conv_pw", "conv_dw", "conv_pwl") if block.expand != 1 else ("", "conv_dw", "conv_pw")
    norms = ("bn1", "bn2", "bn3") if block.expand != 1 else ("", "bn1", "bn2")
    return BlockNames(name, *(Names(f"{name}.{a}", f"{name}.{b}") for a, b in zip(parts, norms, strict=True)))


def _transformers(block: Block) -> BlockNames:
    name = f"mobilenet_v2.layer.{block.number - 1}" if block.number else "mobilenet_v2.conv_stem"
    return BlockNames(name, *(_layer(f"{name}.{part}") for part in ("expand_1x1", "conv_3x3", "reduce_1x1")))


def _layer(name: str) -> Names:
    return Names(f"{name}.convolution", f"{name}.normalization")


_DIALECTS = (
    Dialect(
        "Keras", _HALVES, Names("Conv1", "bn_Conv1"), _keras, Names("Conv_1", "Conv_1_bn"), ("predictions", "dense")
    ),
    Dialect(
        "torchvision",
        _IMAGENET,
        Names("features.0.0", "features.0.1"),
        _torchvision,
        Names("features.18.0", "features.18.1"),
        ("classifier.1",),
    ),
    Dialect("timm", _IMAGENET, Names("conv_stem", "bn1"), _timm, Names("conv_head", "bn2"), ("classifier",)),
    Dialect(
        "transformers",
        _HALVES,
        _layer("mobilenet_v2.conv_stem.first_conv"),
        _transformers,
        _layer("mobilenet_v2.conv_1x1"),
        ("classifier",),
    ),
)
