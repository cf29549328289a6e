"""A backbone of which a part learns: where it is cut in two, which tensors learn, and how they become a graph again.

A compiled backbone has batch normalisation folded into its convolutions, so a convolution's kernel and bias are all
there is to learn, and its name and shapes stand in the file; a checkpoint is not needed.

- The *front* stays as it is. It runs in ONNX Runtime, once a picture, and gives the activations at the cut.
- The *tail* learns: the last ``blocks`` inverted bottlenecks and the convolution behind them; or, with ``ALL``, every
  convolution, and the front only scales pixels. Standardisation of features stays what it was.
- A tensor is called ``backbone.`` and what the graph calls it. With batch normalisation kept ``local`` each convolution
  of the tail has four more, ``norm.weight``, ``bias``, ``running_mean`` and ``running_var``, (channels,) each: a
  normalisation of what the convolution gives. As it comes it changes nothing (``neutral``); a home makes it its own.
- ``compiled_back`` folds what was put in and replaces constants. The result is a backbone like any other.

Nothing here needs torch or ONNX Runtime, so servers may import it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.errors import ModelError
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT, INPUT, MAP_OUTPUT
from fanlight.learning.onnx_file import Graph, Port, replaced
from fanlight.learning.onnx_reading import Contents, Node, read_graph

if TYPE_CHECKING:
    from fanlight.learning.backbones import Runnable
    from fanlight.learning.model_file import HeadModel

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]

ALL: Final = 0
"""As a number of blocks: the whole backbone learns."""
PREFIX: Final = "backbone."
ACTIVATIONS: Final = "activations"
EPSILON: Final = 1e-3
_WEIGHT, _BIAS, _MEAN, _VARIANCE = "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"
NORM: Final = (_WEIGHT, _BIAS, _MEAN, _VARIANCE)
_OPERATORS: Final = frozenset(
    {"Transpose", "Cast", "Sub", "Mul", "Add", "Conv", "Clip", "GlobalAveragePool", "Flatten", "Concat"}
)
_COLOURS: Final = 3


class BatchNorm(StrEnum):
    """What becomes of batch normalisation where a backbone learns.

    ``FROZEN``: it stays folded into the convolutions, with the statistics of the original training. ``LOCAL``: each
    home has one of its own behind each convolution that learns, which is never sent.
    """

    FROZEN = "frozen"
    LOCAL = "local"


@dataclass(frozen=True)
class MadeBackbone:
    """A graph that was made of another and lies in memory; what ``features.FeatureExtractor`` needs of a backbone.

    Attributes:
        id, features: of the backbone that it was made of, or the length of what comes out of it.
        graph: the file.
        base_sha256, tuned_sha256: see ``backbones.Runnable``.
    """

    id: str
    features: int
    graph: bytes
    base_sha256: str = ""
    tuned_sha256: str = ""

    @cached_property
    def sha256(self) -> str:
        """Of the graph, hexadecimal."""
        return hashlib.sha256(self.graph).hexdigest()

    def read(self) -> bytes:
        """The graph."""
        return self.graph


@dataclass(frozen=True)
class Cut:
    """A compiled backbone, cut in two; see ``cut``.

    Attributes:
        id: name of the backbone.
        graph: its file. contents: what is in it.
        place: of the first node of the tail. value: what that reads, the activations.
        features: length of a feature vector.
    """

    id: str
    graph: bytes
    contents: Contents
    place: int
    value: str
    features: int

    @property
    def tail(self) -> tuple[Node, ...]:
        """The nodes that learn, and those behind them."""
        return self.contents.nodes[self.place :]

    @property
    def convolutions(self) -> tuple[Node, ...]:
        """Those of the tail, in order."""
        return tuple(node for node in self.tail if node.operator == "Conv")

    def layout(self, batch_norm: BatchNorm) -> TensorLayout:
        """Names and shapes of the tensors that learn, or belong to what does, in the order of the graph."""
        return TensorLayout(tuple(TensorSpec(name, x.shape) for name, x in self.start(batch_norm).items()))

    def start(self, batch_norm: BatchNorm) -> dict[str, Floats]:
        """The tensors as the backbone has them."""
        found: dict[str, Floats] = {}
        for node in self.convolutions:
            for name in node.inputs[1:]:
                found[PREFIX + name] = np.array(self.contents.constants[name], np.float32)
            if batch_norm is BatchNorm.LOCAL:
                found |= neutral(normalised(node), found[PREFIX + node.inputs[2]].size)
        return found

    def check(self, tensors: Tensors) -> BatchNorm:
        """How the tensors treat batch normalisation, if they are those of this cut.

        Raises:
            ModelError: they are not.
        """
        given = [(name, tensor.shape) for name, tensor in tensors.items()]
        for kind in BatchNorm:
            if [(spec.name, spec.shape) for spec in self.layout(kind).specs] == given:
                return kind
        raise ModelError("the model's backbone tensors are not those that learn by the plan")

    def shape(self, size: int) -> tuple[int, int, int]:
        """(channels, height, width) of the activations of a picture of ``size`` x ``size`` pixels."""
        channels, side = _COLOURS, size
        for node in self.contents.nodes[: self.place]:
            if node.operator == "Conv":
                channels = self.contents.constants[node.inputs[1]].shape[0]
                strides = node.attributes["strides"]
                assert isinstance(strides, tuple)
                side = -(-side // strides[0])
        return channels, side, side

    def front(self, size: int) -> MadeBackbone:
        """The front as a backbone whose features are the activations, as one row a picture."""
        length = int(np.prod(self.shape(size)))
        ports = [Port(INPUT, np.uint8, ("n", "h", "w", 3))], [Port(FEATURES_OUTPUT, np.float32, ("n", length))]
        graph = Graph("front", *ports)
        self._write(graph, self.contents.nodes[: self.place], INPUT, INPUT)
        graph.node("Flatten", [self.value], FEATURES_OUTPUT, axis=1)
        return MadeBackbone(self.id, length, graph.encode(), hashlib.sha256(self.graph).hexdigest())

    def tail_graph(self, tensors: Tensors) -> bytes:
        """The tail as a graph: ``activations`` (N, C, h, w) float32 in, ``features`` and ``map`` out."""
        activations = Port(ACTIVATIONS, np.float32, ("n", "channels", "h", "w"))
        outputs = [
            Port(FEATURES_OUTPUT, np.float32, ("n", self.features)),
            Port(MAP_OUTPUT, np.float32, ("n", "map_channels", "map_h", "map_w")),
        ]
        graph = Graph("tail", [activations], outputs)
        self._write(graph, self.tail, self.value, ACTIVATIONS)
        return compiled_back(graph.encode(), tensors)

    def _write(self, graph: Graph, nodes: tuple[Node, ...], read: str, instead: str) -> None:
        """Writes nodes and their constants; the value ``read`` is called ``instead``."""
        wanted = {name for node in nodes for name in node.inputs} & self.contents.constants.keys()
        for name in sorted(wanted):
            graph.constant(name, self.contents.constants[name])
        for node in nodes:
            inputs = [instead if name == read else name for name in node.inputs]
            graph.node(node.operator, inputs, node.output, **node.attributes)


def cut(backbone_id: str, graph: bytes, features: int, blocks: int) -> Cut:
    """Cut a compiled backbone so that its last ``blocks`` inverted bottlenecks learn.

    Args:
        backbone_id, graph, features: the backbone.
        blocks: 1 to as many as there are, or ``ALL``.

    Raises:
        ModelError: it has fewer, other layers than ours, or features that come from before the cut.
    """
    contents = read_graph(graph)
    if foreign := sorted({node.operator for node in contents.nodes} - _OPERATORS):
        raise ModelError(
            f"the backbone {backbone_id} cannot learn: it has layers of the kinds {', '.join(foreign)}",
            next="A backbone of 8-bit integers stays as it is: take the one that it was made of.",
        )
    places = list(_boundaries(contents.nodes))
    if not 0 <= blocks < len(places):
        raise ModelError(
            f"the backbone {backbone_id} has {len(places) - 1} blocks, not {blocks}",
            next="Say how many of its last blocks learn, or all.",
        )
    first = next(i for i, node in enumerate(contents.nodes) if node.operator == "Conv")
    place = places[-1 - blocks] if blocks else first
    made = Cut(backbone_id, graph, contents, place, contents.nodes[place - 1].output, features)
    inside = {node.output for node in made.tail} | {made.value} | contents.constants.keys()
    if any(name not in inside for node in made.tail for name in node.inputs):
        raise ModelError(
            f"the backbone {backbone_id} has features of several levels, so it can only learn as a whole",
            next="Let all of it learn, or take another backbone.",
        )
    return made


def cut_of(compiled: Runnable, tensors: Tensors) -> Cut:
    """A backbone cut where these tensors of it begin; they are all that learn.

    Raises:
        ModelError: they are not of it.
    """
    graph = compiled.read()
    nodes = read_graph(graph).nodes
    convolutions = [place for place, node in enumerate(nodes) if node.operator == "Conv"]
    learn = [place for place in convolutions if PREFIX + nodes[place].inputs[1] in tensors]
    places = list(_boundaries(nodes))
    first = learn[0] if learn else convolutions[-1] + 1
    ends = [place for place in places if place <= first]  # of the blocks before
    blocks = len(places) - len(ends) if ends else ALL
    made = cut(compiled.id, graph, compiled.features, blocks)
    made.check(tensors)
    return made


def _boundaries(nodes: tuple[Node, ...]) -> Iterator[int]:
    """Places of the nodes before which blocks begin, and of the one behind the last block.

    A block ends with its projection, the one kind of convolution that nothing is cut off of, and the sum behind it.
    """
    clipped = {node.inputs[0] for node in nodes if node.operator == "Clip"}
    seen = False
    for place, node in enumerate(nodes):
        if node.operator != "Conv":
            continue
        if not seen:
            yield place + 2  # behind the stem and its activation
            seen = True
        elif node.output not in clipped:
            behind = nodes[place + 1]
            yield place + (2 if behind.operator == "Add" and node.output in behind.inputs else 1)


def backbone_of(model: HeadModel, compiled: Runnable) -> Runnable:
    """The backbone that a model's head is for: the compiled one that it names, or what that has become.

    Raises:
        ModelError: it is another one, or damaged; or the model's tensors are not of it.
    """
    if compiled.sha256 != model.backbone_sha256:
        raise ModelError(
            f"the model was trained on backbone {model.backbone_id} {model.backbone_sha256[:16]}, "
            f"this is {compiled.id} {compiled.sha256[:16]}",
            next="Install the Fanlight version that the model comes from.",
        )
    if not model.tuned:
        return compiled
    graph = compiled_back(compiled.read(), model.tuned)
    return MadeBackbone(compiled.id, compiled.features, graph, compiled.sha256, model.tuned_sha256)


def normalised(convolution: Node) -> str:
    """What the names of the normalisation behind a convolution begin with."""
    return f"{PREFIX}{convolution.inputs[1].removesuffix('.weight')}."


def normalisation(layout: TensorLayout) -> frozenset[str]:
    """Names of the tensors in a model's layout that are a home's own normalisation."""
    return frozenset(name for name in layout.names if name.startswith(PREFIX) and name.endswith(NORM))


def neutral(name: str, channels: int) -> dict[str, Floats]:
    """A normalisation that changes nothing, by the names of its tensors; ``name`` is what they begin with."""
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    scale = ones * np.float32(np.sqrt(1 + EPSILON))
    return {f"{name}{part}": x.copy() for part, x in zip(NORM, (scale, zeros, zeros, ones), strict=True)}


def compiled_back(graph: bytes, tensors: Tensors) -> bytes:
    """A graph whose convolutions have the ``tensors``, normalisation folded in; the rest stays, bit for bit.

    Raises:
        ModelError: a tensor is none of a convolution's in this graph, or has another shape.
    """
    constants: dict[str, Floats] = {}
    contents = read_graph(graph)
    left = set(tensors)
    for node in contents.nodes:
        if node.operator != "Conv" or PREFIX + node.inputs[1] not in tensors:
            continue
        names = tuple(PREFIX + name for name in node.inputs[1:])
        kernel, bias = (tensors.get(name) for name in names)
        shapes = tuple(contents.constants[name].shape for name in node.inputs[1:])
        if kernel is None or bias is None or (kernel.shape, bias.shape) != shapes:
            raise ModelError(f"the tensors of {node.output} do not fit the backbone")
        norms = tuple(normalised(node) + part for part in NORM)
        left -= {*names, *norms}
        if norms[0] in tensors:
            kernel, bias = _folded(kernel, bias, [tensors.get(name) for name in norms])
        constants |= dict(zip(node.inputs[1:], (kernel, bias), strict=True))
    if left:
        raise ModelError(f"the backbone has no tensor {min(left)}")
    return replaced(graph, constants)


def _folded(kernel: Floats, bias: Floats, norm: list[Floats | None]) -> tuple[Floats, Floats]:
    """Kernel and bias of a convolution with the normalisation behind it; in float64, as at the first compiling."""
    if any(part is None or part.shape != bias.shape for part in norm):
        raise ModelError("a normalisation of the backbone is not complete")
    gamma, beta, mean, variance = (np.asarray(part, np.float64) for part in norm)
    scale = gamma / np.sqrt(np.maximum(variance, 0.0) + EPSILON)
    folded = kernel * scale[:, None, None, None], (bias - mean) * scale + beta
    return folded[0].astype(np.float32), folded[1].astype(np.float32)
