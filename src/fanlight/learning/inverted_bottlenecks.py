"""Networks of inverted bottlenecks (MobileNetV2, Sandler et al., arXiv 1801.04381) as ONNX graphs.

Evaluation-time batch normalisation is a fixed scale and shift per channel, so it is folded into the convolution before
it; in float64, because the running variances span many orders of magnitude. Zero padding must act on *scaled* pixels,
hence the scaling of pixels is not folded into the first convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.onnx_file import Graph, Port

INPUT, FEATURES_OUTPUT, MAP_OUTPUT, LOGITS_OUTPUT = "pictures", "features", "map", "logits"

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


@dataclass(frozen=True)
class Block:
    """One inverted bottleneck: expand by 1x1, filter each channel, project by 1x1, add the input where shapes allow."""

    number: int
    stage: int
    repeat: int
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int

    @property
    def wide(self) -> int:
        """Channels between expansion and projection."""
        return self.inputs * self.expand

    @property
    def skip(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.inputs == self.outputs


def blocks_of(stages: Sequence[Stage]) -> Iterator[Block]:
    """The blocks of all stages in order; blocks and stages are numbered from 0, and so are repeats in a stage."""
    number = 0
    for place, stage in enumerate(stages):
        for repeat in range(stage.repeats):
            inputs, stride = (stage.outputs, 1) if repeat else (stage.inputs, stage.stride)
            yield Block(number, place, repeat, stage.kernel, stride, stage.expand, inputs, stage.outputs)
            number += 1


@dataclass(frozen=True)
class Names:
    """What a convolution and its batch normalisation are called in the checkpoint, without ``.weight`` and the like."""

    conv: str
    norm: str


@dataclass(frozen=True)
class BlockNames:
    """The same for a block; ``expand`` is not looked at where a block does not expand. ``block`` names its sum."""

    block: str
    expand: Names
    depthwise: Names
    project: Names


@dataclass(frozen=True)
class Conventions:
    """What a checkpoint takes for granted.

    Attributes:
        pixel_mean, pixel_scale: a pixel x in 0 to 255 goes in as (x - mean) * scale; one number, or one a colour.
        epsilon: of batch normalisation.
        centred: convolutions are padded by half of the kernel on all sides, as PyTorch does; otherwise by TensorFlow's
            "SAME" (the larger half at the end), worked out at run time. One file serves every size in both cases.
    """

    pixel_mean: tuple[float, ...]
    pixel_scale: tuple[float, ...]
    epsilon: float
    centred: bool = False


@dataclass(frozen=True)
class Level:
    """What an earlier stage gives, ``value`` in the graph, and mean and deviation, (channels,) each, of its means."""

    value: str
    mean: Doubles
    deviation: Doubles


def open_graph(name: str, features: int, classes: int | None, *, levels: int = 0) -> Graph:
    """A graph with the ports of a backbone, and of its classifier if ``classes`` are told.

    ``levels`` is how many features of earlier stages follow those of the map.
    """
    outputs = [
        Port(FEATURES_OUTPUT, np.float32, ("n", features + levels)),
        Port(MAP_OUTPUT, np.float32, ("n", features, "map_h", "map_w")),
    ]
    if classes is not None:
        outputs.append(Port(LOGITS_OUTPUT, np.float32, ("n", classes)))
    graph = Graph(name, [Port(INPUT, np.uint8, ("n", "h", "w", 3))], outputs)
    graph.constant("zero", np.array(0, np.float32))
    graph.constant("six", np.array(6, np.float32))
    return graph


@dataclass(frozen=True)
class Writer:
    """Writes a network's layers into the graph; every method takes and returns names of values in it.

    Raises:
        ModelError: a tensor is missing, or has another shape than the architecture says.
    """

    graph: Graph
    weights: Weights
    conventions: Conventions

    def scale_pixels(self, x: str) -> str:
        """Bytes (N, H, W, 3) to scaled planes (N, 3, H, W)."""
        node, constant = self.graph.node, self.graph.constant
        x = node("Transpose", [node("Cast", [x], "pixels", to=1)], "planes", perm=(0, 3, 1, 2))
        x = node("Sub", [x, constant("pixel_mean", _per_plane(self.conventions.pixel_mean))], "centred")
        return node("Mul", [x, constant("pixel_scale", _per_plane(self.conventions.pixel_scale))], "scaled")

    def block(self, x: str, block: Block, names: BlockNames) -> str:
        """One inverted bottleneck."""
        wide, y = block.wide, x
        if block.expand != 1:
            y = self.convolve(y, names.expand, (wide, block.inputs, 1, 1))
        depthwise = (wide, 1, block.kernel, block.kernel)
        y = self.convolve(y, names.depthwise, depthwise, stride=block.stride, groups=wide)
        y = self.convolve(y, names.project, (block.outputs, wide, 1, 1), activate=False)
        return self.graph.node("Add", [y, x], f"{names.block}.sum") if block.skip else y

    def convolve(
        self,
        x: str,
        names: Names,
        shape: tuple[int, int, int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> str:
        """Convolution with its batch normalisation folded in, then ReLU6 unless it is a projection."""
        scale, shift = self._normalisation(names.norm, shape[0])
        kernel = tensor(self.weights, f"{names.conv}.weight", shape) * scale[:, None, None, None]
        inputs = [x, self._constant(f"{names.conv}.weight", kernel), self._constant(f"{names.conv}.bias", shift)]
        sides = (shape[2] // 2, shape[3] // 2)
        padding: dict[str, Any] = {"pads": sides * 2} if self.conventions.centred else {"auto_pad": "SAME_UPPER"}
        x = self.graph.node(
            "Conv", inputs, names.conv, group=groups, kernel_shape=shape[2:], strides=(stride, stride), **padding
        )
        return self.graph.node("Clip", [x, "zero", "six"], f"{names.conv}.relu6") if activate else x

    def standardise(self, x: str, mean: Doubles, deviation: Doubles, levels: Sequence[Level] = ()) -> None:
        """Writes the outputs ``map`` and ``features``; mean and deviation, (features,) each, are of the last layer's.

        The means over all places of the ``levels``, standardised too, follow the features of the map.
        """
        scale = self._constant("feature_scale", (1 / deviation)[:, None, None])
        shift = self._constant("feature_shift", (-mean / deviation)[:, None, None])
        x = self.graph.node("Add", [self.graph.node("Mul", [x, scale], "spread"), shift], MAP_OUTPUT)
        if not levels:
            self._pool(x, FEATURES_OUTPUT)
            return
        pooled = [self._pool(x, "last"), *map(self._level, levels)]
        self.graph.node("Concat", pooled, FEATURES_OUTPUT, axis=1)

    def classify(self, x: str, name: str, classes: int, features: int) -> None:
        """Writes the output ``logits``."""
        pooled = self._pool(x, "pooled")
        weight = self._constant(f"{name}.weight", tensor(self.weights, f"{name}.weight", (classes, features)))
        bias = self._constant(f"{name}.bias", tensor(self.weights, f"{name}.bias", (classes,)))
        self.graph.node("Gemm", [pooled, weight, bias], LOGITS_OUTPUT, transB=1)

    def _normalisation(self, norm: str, channels: int) -> tuple[Doubles, Doubles]:
        """Scale and shift, (channels,) each, that batch normalisation ``norm`` amounts to at evaluation time."""
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (tensor(self.weights, f"{norm}.{part}", (channels,)) for part in parts)
        scale = gamma / np.sqrt(variance + self.conventions.epsilon)
        return scale, beta - mean * scale

    def _level(self, level: Level) -> str:
        name, node = level.value, self.graph.node
        scale = self._constant(f"{name}.scale", 1 / level.deviation)
        shift = self._constant(f"{name}.shift", -level.mean / level.deviation)
        spread = node("Mul", [self._pool(name, f"{name}.pooled"), scale], f"{name}.spread")
        return node("Add", [spread, shift], f"{name}.level")

    def _pool(self, x: str, output: str) -> str:
        return self.graph.node("Flatten", [self.graph.node("GlobalAveragePool", [x], f"{output}.mean")], output, axis=1)

    def _constant(self, name: str, values: Doubles) -> str:
        return self.graph.constant(name, values.astype(np.float32))


def tensor(weights: Weights, name: str, shape: tuple[int, ...]) -> Doubles:
    """A tensor of the checkpoint as float64.

    Raises:
        ModelError: it is missing, or not float32 of this shape.
    """
    values = weights.get(name)
    if values is None or values.dtype != np.float32 or values.shape != shape:
        found = "nothing" if values is None else f"{values.dtype} {values.shape}"
        raise ModelError(f"the checkpoint should have float32 {shape} as {name}, but has {found}")
    return values.astype(np.float64)


def _per_plane(values: tuple[float, ...]) -> NDArray[np.float32]:
    numbers = np.array(values, np.float32)
    return numbers if numbers.size == 1 else numbers[:, None, None]
