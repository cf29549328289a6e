"""EfficientNet-Lite0 as an ONNX graph that turns pictures into standardised features.

The network is EfficientNet (Tan and Le, arXiv 1905.11946) in its published "Lite" form for small devices: no
squeeze-and-excitation, ReLU6 for every activation. Evaluation-time batch normalisation is a fixed scale and shift per
channel, so it is folded into the convolution before it; in float64, because the running variances span many orders of
magnitude.

Rules of the graph:

- Input ``pictures``: (N, H, W, 3) uint8, RGB, any N, H and W. Scaling to (x - 127) / 128 happens inside, so that no
  caller can get it wrong. Zero padding must act on *scaled* pixels, hence the scaling is not folded into the stem.
- Padding is TensorFlow's "SAME" (the larger half at the end), worked out at run time: one file serves every size.
- Output ``map``: (N, 1280, h, w) float32, standardised activations of the last layer, h = ceil(H / 32).
- Output ``features``: (N, 1280) float32, the mean of ``map`` over its places. A linear head applied to ``map``
  therefore gives scores for each place whose mean is the score of the picture.
- With *levels*, ``features`` is (N, 2024): behind those 1280, the means over all places of what the stages with 40, 80,
  112, 192 and 320 channels give, standardised too. Earlier stages see edges, textures and strokes, which late ones have
  traded for what ImageNet's classes need; for pictures unlike ImageNet's a head sees more in both (on Fashion-MNIST 2.6
  points more). They cost no time, but a head that is solved from sums sends 2.5 times as many.

**Standardisation by fixed statistics.** Training a linear head by gradient steps wants features of mean 0 and like
spread. Statistics of one device's pictures would give every device another head and tell about its pictures, so they
come from no device: half from natural pictures, half from drawings, as the mean and deviation of that mixture.

- Natural: worked out from the checkpoint alone. Batch normalisation has made the last pre-activation of channel c a
  variable of mean beta_c and standard deviation gamma_c over ImageNet; taking it as normal, mean and deviation of its
  ReLU6 are integrals in closed form (``relu6_moments``). What a stage gives is, for each channel, a sum of such
  variables (block and shortcuts), whose means and variances add up; its mean over places varies about a third as much.
- Drawn: measured once on pictures that ``scripts/derive_feature_statistics.py`` draws, and shipped beside this module.
  On handwritten digits, which are nothing like ImageNet, they are worth two points of balanced accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.feature_statistics import relu6_moments
from fanlight.learning.onnx_file import Graph, Port

FEATURES = 1280
LEVELS = (40, 80, 112, 192, 320)
"""Channels of the stages that features with levels have at their end."""
CLASSES = 1000
INPUT, FEATURES_OUTPUT, MAP_OUTPUT, LOGITS_OUTPUT = "pictures", "features", "map", "logits"

_EPSILON = 1e-3
_STEM = 32
_SPREAD_OF_MEANS = 1 / 3

Weights = Mapping[str, NDArray[Any]]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """``repeats`` inverted bottlenecks; only the first has the stride and changes the number of channels."""

    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, 32, 16, 1),
    Stage(3, 2, 6, 16, 24, 2),
    Stage(5, 2, 6, 24, 40, 2),
    Stage(3, 2, 6, 40, 80, 3),
    Stage(5, 1, 6, 80, 112, 3),
    Stage(5, 2, 6, 112, 192, 4),
    Stage(3, 1, 6, 192, 320, 1),
)


@dataclass(frozen=True)
class Block:
    """One inverted bottleneck: expand by 1x1, filter each channel, project by 1x1, add the input where shapes allow."""

    prefix: str
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int

    @property
    def skip(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.inputs == self.outputs


def blocks() -> Iterator[Block]:
    """The network's 16 blocks in order, named as in the checkpoint."""
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            first = repeat == 0
            inputs = stage.inputs if first else stage.outputs
            stride = stage.stride if first else 1
            yield Block(f"_blocks.{number}", stage.kernel, stride, stage.expand, inputs, stage.outputs)
            number += 1


def build(weights: Weights, *, logits: bool = False, levels: bool = False) -> bytes:
    """The network as an ONNX file; equal weights give equal bytes.

    Args:
        weights: tensors of the checkpoint by name, float32.
        logits: add the output ``logits`` (N, 1000), the ImageNet classifier, for tests that compare with the original;
            the product leaves it out (5 MB).
        levels: features with levels.

    Raises:
        ModelError: a tensor is missing, or has another shape than the architecture says.
    """
    outputs = [
        Port(FEATURES_OUTPUT, np.float32, ("n", FEATURES + (sum(LEVELS) if levels else 0))),
        Port(MAP_OUTPUT, np.float32, ("n", FEATURES, "map_h", "map_w")),
    ]
    if logits:
        outputs.append(Port(LOGITS_OUTPUT, np.float32, ("n", CLASSES)))
    graph = Graph("efficientnet-lite0", [Port(INPUT, np.uint8, ("n", "h", "w", 3))], outputs)
    graph.constant("zero", np.array(0, np.float32))
    graph.constant("six", np.array(6, np.float32))
    writer = _Writer(graph, weights)
    x = writer.convolve(writer.scale_pixels(INPUT), "_conv_stem", "_bn0", (_STEM, 3, 3, 3), stride=2)
    stages: list[str] = []
    for block in blocks():
        x = writer.block(x, block)
        stages = [*stages[: -1 if block.skip else None], x]
    x = writer.convolve(x, "_conv_head", "_bn1", (FEATURES, STAGES[-1].outputs, 1, 1))
    writer.standardise(x, stages[-len(LEVELS) :] if levels else ())
    if logits:
        writer.classify(x)
    return graph.encode()


def feature_statistics(weights: Weights) -> tuple[Doubles, Doubles]:
    """Mean and deviation, (1280,) each, by which the graph standardises its features; see the module's text."""
    gamma, beta = (_tensor(weights, f"_bn1.{part}", (FEATURES,)) for part in ("weight", "bias"))
    natural_mean, natural_deviation = relu6_moments(beta, np.abs(gamma))
    drawn_mean, drawn_deviation = _drawn_statistics()
    within = (natural_deviation**2 + drawn_deviation**2) / 2
    between = (natural_mean - drawn_mean) ** 2 / 4
    return (natural_mean + drawn_mean) / 2, np.sqrt(within + between)


def level_statistics(weights: Weights) -> list[tuple[Doubles, Doubles]]:
    """Mean and deviation by which the graph standardises each of the ``LEVELS``; see the module's text."""
    found: list[tuple[Doubles, Doubles]] = []
    for block in blocks():
        gamma, beta = (_tensor(weights, f"{block.prefix}._bn2.{part}", (block.outputs,)) for part in ("weight", "bias"))
        if block.skip:
            mean, variance = found.pop()
            found.append((mean + beta, variance + gamma**2))
        else:
            found.append((beta, gamma**2))
    return [(mean, _SPREAD_OF_MEANS * np.sqrt(variance)) for mean, variance in found[-len(LEVELS) :]]


def _drawn_statistics() -> Doubles:
    """(2, 1280): mean and deviation over drawn pictures."""
    with resources.files(__package__).joinpath("efficientnet_lite0_drawn.npy").open("rb") as file:
        return np.asarray(np.load(file, allow_pickle=False), np.float64)


@dataclass(frozen=True)
class _Writer:
    """Writes the network's layers into the graph; every method takes and returns names of values in it."""

    graph: Graph
    weights: Weights

    def scale_pixels(self, x: str) -> str:
        node, constant = self.graph.node, self.graph.constant
        x = node("Transpose", [node("Cast", [x], "pixels", to=1)], "planes", perm=(0, 3, 1, 2))
        x = node("Sub", [x, constant("pixel_mean", np.array([127], np.float32))], "centred")
        return node("Mul", [x, constant("pixel_scale", np.array([1 / 128], np.float32))], "scaled")

    def block(self, x: str, block: Block) -> str:
        wide = block.inputs * block.expand
        y = x
        if block.expand != 1:
            y = self.convolve(y, f"{block.prefix}._expand_conv", f"{block.prefix}._bn0", (wide, block.inputs, 1, 1))
        depthwise = (wide, 1, block.kernel, block.kernel)
        names = f"{block.prefix}._depthwise_conv", f"{block.prefix}._bn1"
        y = self.convolve(y, *names, depthwise, stride=block.stride, groups=wide)
        names = f"{block.prefix}._project_conv", f"{block.prefix}._bn2"
        y = self.convolve(y, *names, (block.outputs, wide, 1, 1), activate=False)
        return self.graph.node("Add", [y, x], f"{block.prefix}.sum") if block.skip else y

    def convolve(
        self,
        x: str,
        name: str,
        norm: str,
        shape: tuple[int, int, int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> str:
        """Convolution with its batch normalisation folded in, then ReLU6 unless it is a projection."""
        scale, shift = _normalisation(self.weights, norm, shape[0])
        kernel = _tensor(self.weights, f"{name}.weight", shape) * scale[:, None, None, None]
        inputs = [x, self._constant(f"{name}.weight", kernel), self._constant(f"{name}.bias", shift)]
        x = self.graph.node(
            "Conv",
            inputs,
            name,
            auto_pad="SAME_UPPER",
            group=groups,
            kernel_shape=shape[2:],
            strides=(stride, stride),
        )
        return self.graph.node("Clip", [x, "zero", "six"], f"{name}.relu6") if activate else x

    def standardise(self, x: str, stages: Sequence[str]) -> None:
        """Writes the outputs ``map`` and ``features``, with the levels of these stages."""
        mean, deviation = feature_statistics(self.weights)
        scale = self._constant("feature_scale", (1 / deviation)[:, None, None])
        shift = self._constant("feature_shift", (-mean / deviation)[:, None, None])
        x = self.graph.node("Add", [self.graph.node("Mul", [x, scale], "spread"), shift], MAP_OUTPUT)
        if not stages:
            self._pool(x, FEATURES_OUTPUT)
            return
        pooled = [self._pool(x, "last")]
        moments = level_statistics(self.weights)
        for stage, (mean, deviation) in zip(stages, moments, strict=True):
            scale = self._constant(f"{stage}.scale", 1 / deviation)
            shift = self._constant(f"{stage}.shift", -mean / deviation)
            level = self._pool(stage, f"{stage}.pooled")
            pooled.append(
                self.graph.node(
                    "Add", [self.graph.node("Mul", [level, scale], f"{stage}.spread"), shift], f"{stage}.level"
                )
            )
        self.graph.node("Concat", pooled, FEATURES_OUTPUT, axis=1)

    def classify(self, x: str) -> None:
        """Writes the output ``logits``."""
        pooled = self._pool(x, "pooled")
        weight = self._constant("_fc.weight", _tensor(self.weights, "_fc.weight", (CLASSES, FEATURES)))
        bias = self._constant("_fc.bias", _tensor(self.weights, "_fc.bias", (CLASSES,)))
        self.graph.node("Gemm", [pooled, weight, bias], LOGITS_OUTPUT, transB=1)

    def _pool(self, x: str, output: str) -> str:
        return self.graph.node("Flatten", [self.graph.node("GlobalAveragePool", [x], f"{output}.mean")], output, axis=1)

    def _constant(self, name: str, values: Doubles) -> str:
        return self.graph.constant(name, values.astype(np.float32))


def _normalisation(weights: Weights, norm: str, channels: int) -> tuple[Doubles, Doubles]:
    """Scale and shift, (channels,) each, that batch normalisation ``norm`` amounts to at evaluation time."""
    gamma, beta, mean, variance = (
        _tensor(weights, f"{norm}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


def _tensor(weights: Weights, name: str, shape: tuple[int, ...]) -> Doubles:
    values = weights.get(name)
    if values is None or values.dtype != np.float32 or values.shape != shape:
        found = "nothing" if values is None else f"{values.dtype} {values.shape}"
        raise ModelError(f"the checkpoint should have float32 {shape} as {name}, but has {found}")
    return values.astype(np.float64)
