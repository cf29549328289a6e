"""EfficientNet-Lite0 as an ONNX graph that turns pictures into standardised features.

The network is EfficientNet (Tan and Le, arXiv 1905.11946) in its published "Lite" form for small devices: no
squeeze-and-excitation, ReLU6 for every activation; see ``inverted_bottlenecks`` for how such a graph is written.

Rules of the graph:

- Input ``pictures``: (N, H, W, 3) uint8, RGB, any N, H and W. Scaling to (x - 127) / 128 happens inside, so that no
  caller can get it wrong.
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

from collections.abc import Iterator
from importlib import resources

import numpy as np

from fanlight.learning.feature_statistics import relu6_moments
from fanlight.learning.inverted_bottlenecks import (
    INPUT,
    Block,
    BlockNames,
    Conventions,
    Doubles,
    Level,
    Names,
    Stage,
    Weights,
    Writer,
    blocks_of,
    open_graph,
    tensor,
)

FEATURES = 1280
LEVELS = (40, 80, 112, 192, 320)
"""Channels of the stages that features with levels have at their end."""
CLASSES = 1000

_CONVENTIONS = Conventions(pixel_mean=(127,), pixel_scale=(1 / 128,), epsilon=1e-3)
_STEM = 32
_SPREAD_OF_MEANS = 1 / 3

STAGES = (
    Stage(3, 1, 1, 32, 16, 1),
    Stage(3, 2, 6, 16, 24, 2),
    Stage(5, 2, 6, 24, 40, 2),
    Stage(3, 2, 6, 40, 80, 3),
    Stage(5, 1, 6, 80, 112, 3),
    Stage(5, 2, 6, 112, 192, 4),
    Stage(3, 1, 6, 192, 320, 1),
)


def blocks() -> Iterator[Block]:
    """The network's 16 blocks in order."""
    return blocks_of(STAGES)


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
    graph = open_graph("efficientnet-lite0", FEATURES, CLASSES if logits else None, levels=sum(LEVELS) if levels else 0)
    writer = Writer(graph, weights, _CONVENTIONS)
    x = writer.convolve(writer.scale_pixels(INPUT), Names("_conv_stem", "_bn0"), (_STEM, 3, 3, 3), stride=2)
    stages: list[str] = []
    for block in blocks():
        x = writer.block(x, block, _names(block))
        stages = [*stages[: -1 if block.skip else None], x]
    x = writer.convolve(x, Names("_conv_head", "_bn1"), (FEATURES, STAGES[-1].outputs, 1, 1))
    earlier = zip(stages[-len(LEVELS) :], level_statistics(weights), strict=True) if levels else ()
    writer.standardise(x, *feature_statistics(weights), [Level(stage, *moments) for stage, moments in earlier])
    if logits:
        writer.classify(x, "_fc", CLASSES, FEATURES)
    return graph.encode()


def _names(block: Block) -> BlockNames:
    prefix = f"_blocks.{block.number}"
    parts = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
    return BlockNames(prefix, *(Names(f"{prefix}.{conv}", f"{prefix}.{norm}") for conv, norm in parts))


def feature_statistics(weights: Weights) -> tuple[Doubles, Doubles]:
    """Mean and deviation, (1280,) each, by which the graph standardises its features; see the module's text."""
    gamma, beta = (tensor(weights, f"_bn1.{part}", (FEATURES,)) for part in ("weight", "bias"))
    natural_mean, natural_deviation = relu6_moments(beta, np.abs(gamma))
    drawn_mean, drawn_deviation = _drawn_statistics()
    within = (natural_deviation**2 + drawn_deviation**2) / 2
    between = (natural_mean - drawn_mean) ** 2 / 4
    return (natural_mean + drawn_mean) / 2, np.sqrt(within + between)


def level_statistics(weights: Weights) -> list[tuple[Doubles, Doubles]]:
    """Mean and deviation by which the graph standardises each of the ``LEVELS``; see the module's text."""
    found: list[tuple[Doubles, Doubles]] = []
    for block in blocks():
        norm = _names(block).project.norm
        gamma, beta = (tensor(weights, f"{norm}.{part}", (block.outputs,)) for part in ("weight", "bias"))
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
