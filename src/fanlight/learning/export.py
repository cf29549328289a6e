"""A model as one ONNX file that any program can run: picture in, class and probabilities out.

Rules of the graph:

- Input ``images``: (N, H, W, 3) uint8, RGB, upright, N, H and W of 1 and more, all pictures of a call of one size.
  Nothing is to be done to them before.
- The whole picture is squeezed into the square that the model was trained on, by a triangle filter as wide as the
  reduction, as Pillow's BILINEAR does it (``pictures``). A resampling filter is linear, so each axis is one product
  with a matrix, which the graph works out from the picture's size: operators for resizing differ between programs, and
  ONNX Runtime's own is off by up to 13 levels. A picture that is such a square already stays as it is, bit for bit.
- Then the compiled backbone, byte for byte, or what it has become where it learns, and the head, with the features as
  it reads them.
- Output ``class``: (N,) text. Output ``probabilities``: (N, K) float32, in the order of the metadata's ``classes``.

Files of equal models are equal. Nothing here needs ONNX Runtime, so that servers can give these files out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from fanlight.errors import ModelError
from fanlight.learning.backbones import BACKBONES, CompiledBackbone
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT
from fanlight.learning.inverted_bottlenecks import INPUT as PICTURES
from fanlight.learning.model_file import HeadModel
from fanlight.learning.onnx_file import BYTE, FLOAT, Graph, Port
from fanlight.learning.own_backbones import describe
from fanlight.learning.tuned_backbone import backbone_of

IMAGES, CLASS, PROBABILITIES = "images", "class", "probabilities"


def to_onnx(model: HeadModel, compiled: CompiledBackbone, more: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The model as an ONNX file.

    Args:
        model: the head, and what its features are.
        compiled: the backbone that it was trained on.
        more: what the file's metadata say besides.

    Raises:
        ModelError: it is another backbone, or its file is damaged.
    """
    if compiled.sha256 != model.backbone_sha256 or compiled.features != model.weight.shape[0]:
        raise ModelError(
            f"the model was trained on {model.backbone_id} {model.backbone_sha256[:16]}, not on this backbone",
            next="Use the Fanlight version that the model comes from.",
        )
    outputs = [
        Port(CLASS, np.str_, ("n",)),
        Port(PROBABILITIES, np.float32, ("n", len(model.classes))),
    ]
    graph = Graph("fanlight", [Port(IMAGES, np.uint8, ("n", "h", "w", 3))], outputs)
    _squeeze(graph, model.picture_size)
    backbone = backbone_of(model, compiled).read()
    graph.include(backbone)
    _classify(graph, model)
    return graph.encode({**_metadata(model, backbone), **more})


def _squeeze(graph: Graph, size: int) -> None:
    """Writes ``pictures`` (N, size, size, 3) uint8."""
    node, constant = graph.node, graph.constant
    lengths = node("Shape", [IMAGES], "squeeze.lengths")
    constant("squeeze.centres", (np.arange(size, dtype=np.float32) + np.float32(0.5))[:, None])
    constant("squeeze.size", np.array(size, np.float32))
    constant("squeeze.half", np.array(0.5, np.float32))
    constant("squeeze.one", np.array(1, np.float32))
    constant("squeeze.last", np.array([1], np.int64))
    levels = node("Cast", [IMAGES], "squeeze.levels", to=FLOAT)
    # rows as (N, H, W * 3): one product for all columns and colours
    flat = node("Reshape", [levels, constant("squeeze.flat", np.array([0, 0, -1], np.int64))], "squeeze.flat_rows")
    rows = node("MatMul", [_filter(graph, lengths, 1), flat], "squeeze.rows")
    split = node("Reshape", [rows, constant("squeeze.split", np.array([0, 0, -1, 3], np.int64))], "squeeze.pixels")
    square = node("MatMul", [_filter(graph, lengths, 2), split], "squeeze.square")
    node("Cast", [node("Round", [square], "squeeze.rounded")], PICTURES, to=BYTE)


def _filter(graph: Graph, lengths: str, axis: int) -> str:
    """(size, length): how much each pixel along an axis counts for each of the square; rows sum to 1."""
    node, name = graph.node, f"squeeze.axis{axis}"
    whole = node("Gather", [lengths, graph.constant(f"{name}.index", np.array(axis, np.int64))], f"{name}.whole")
    length = node("Cast", [whole], f"{name}.length", to=FLOAT)
    reduction = node("Div", [length, "squeeze.size"], f"{name}.reduction")
    width = node("Max", [reduction, "squeeze.one"], f"{name}.width")
    centres = node("Mul", ["squeeze.centres", reduction], f"{name}.centres")
    places = node("Range", ["squeeze.half", length, "squeeze.one"], f"{name}.places")
    away = node("Abs", [node("Sub", [centres, places], f"{name}.from")], f"{name}.away")
    share = node("Sub", ["squeeze.one", node("Div", [away, width], f"{name}.relative")], f"{name}.share")
    triangle = node("Relu", [share], f"{name}.triangle")
    total = node("ReduceSum", [triangle, "squeeze.last"], f"{name}.total")
    return node("Div", [triangle, total], f"{name}.filter")


def _classify(graph: Graph, model: HeadModel) -> None:
    """Writes ``class`` and ``probabilities``."""
    node, constant = graph.node, graph.constant
    head = [constant("head.weight", model.weight), constant("head.bias", model.bias)]
    logits = node("Gemm", [_read(graph, model), *head], "head.logits")
    node("Softmax", [logits], PROBABILITIES, axis=1)
    likeliest = node("ArgMax", [logits], "head.likeliest", axis=1, keepdims=0)
    node("Gather", [graph.words("head.classes", model.classes), likeliest], CLASS)


def _read(graph: Graph, model: HeadModel) -> str:
    """The features as the head reads them, see ``heads.as_read``."""
    if not model.kind.is_solved:
        return FEATURES_OUTPUT
    node, constant = graph.node, graph.constant
    squares = node("Mul", [FEATURES_OUTPUT, FEATURES_OUTPUT], "read.squares")
    total = node("ReduceSum", [squares, constant("read.axis", np.array([1], np.int64))], "read.total")
    least = constant("read.least", np.array(np.finfo(np.float32).tiny, np.float32))
    length = node("Sqrt", [node("Max", [total, least], "read.more_than_none")], "read.length")
    root = constant("read.root", np.array(np.sqrt(model.weight.shape[0]), np.float32))
    return node("Mul", [node("Div", [FEATURES_OUTPUT, length], "read.unit"), root], "read.features")


def _metadata(model: HeadModel, backbone: bytes) -> dict[str, str]:
    entry = BACKBONES.get(model.backbone_id) or describe(backbone)
    return {
        "task": model.task,
        "version": str(model.version),
        "classes": json.dumps(list(model.classes), ensure_ascii=False),
        "picture_size": str(model.picture_size),
        "backbone": entry.id,
        "backbone_sha256": model.backbone_sha256,
        "backbone_licence": entry.licence,
    }
