"""What a backbone in 8-bit integers costs and gains: accuracy of a linear head, likeness of features, time, bytes.

    make bench NAME=int8 ARGS="--json"
    python benchmarks/int8.py --weights dog_breed_mobilenetv2.h5 --json

*Accuracy* is balanced accuracy on Tux Paint's stamps (five classes, held out in five folds): ridge regression on
features of length 1, the same folds for both, the mean of ten ways to cut them: one picture is a quarter of a point.
The ranges of the int8 backbone come from a sixth of the pictures, without their labels.

*Time* is processor time of one thread, so that other work on the machine counts little; both backbones take turns, and
the least of many runs counts. The promise of ``FASTER`` holds where the processor multiplies bytes in one instruction:
what it has is said first. Elsewhere the figure is there to be read.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.report import Figure, Report
from fanlight.core.metrics import Metrics
from fanlight.learning import mobilenet_v2, pictures
from fanlight.learning.backbones import DEFAULT_BACKBONE, compile_backbone
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import places
from fanlight.learning.datasets.stamps import SOURCE
from fanlight.learning.features import open_session
from fanlight.learning.int8 import quantise
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT, INPUT
from fanlight.learning.weight_files import read_weights

FASTER = 1.8
POINTS_LOST = 1.0
_SIDE = 128
_BATCH = 8
_FOLDS = 5
_CUTS = 10
_RIDGE = 0.1
_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "asimddp", "i8mm")

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of a MobileNetV2; EfficientNet-Lite0 without")
    parser.add_argument("--repeat", type=int, default=30, help="how often each is timed")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    arguments = parser.parse_args()
    return measure(arguments.weights, arguments.repeat).show(as_json=arguments.json)


def measure(weights: Path | None, repeat: int) -> Report:
    """Both variants of one backbone, side by side."""
    name, graph = backbone(weights)
    loaded = SOURCE.load(places(), 1, Chance("int8", 1))
    squares = np.stack([pictures.load(path, _SIDE) for path in loaded.pictures if isinstance(path, Path)])
    small = quantise(graph, in_batches(squares[::6]))
    features, rough = features_of(graph, squares), features_of(small, squares)
    likeness = np.sum(unit(features) * unit(rough), axis=1)
    before, after = (accuracy(unit(x), loaded.labels) for x in (features, rough))
    return Report(
        "int8",
        (
            Figure(f"{name}: instructions for bytes ({' '.join(instructions()) or 'none'})", len(instructions()), ""),
            Figure("balanced accuracy, stamps", after, "", rival=before),
            Figure("accuracy lost", (before - after) * 100, "points", at_most=POINTS_LOST),
            Figure("cosine of features, mean", float(likeness.mean()), ""),
            Figure("cosine of features, least", float(likeness.min()), ""),
            *speed(graph, small, repeat),
            Figure("bytes", len(small), "B", rival=len(graph)),
        ),
    )


def backbone(weights: Path | None) -> tuple[str, bytes]:
    """Name and graph."""
    if weights is not None:
        return "mobilenet-v2", mobilenet_v2.build(read_weights(weights))
    with tempfile.TemporaryDirectory() as folder:
        return DEFAULT_BACKBONE, compile_backbone(DEFAULT_BACKBONE, Path(folder)).read()


def instructions() -> list[str]:
    """Those for products of bytes that the processor has, as Linux names them."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        words = set()
    return [name for name in _INSTRUCTIONS if name in words]


def in_batches(squares: Pixels) -> list[Pixels]:
    """Some at a time."""
    return [squares[start : start + _BATCH] for start in range(0, len(squares), _BATCH)]


def features_of(graph: bytes, squares: Pixels) -> Floats:
    """(n, features)."""
    session = open_session(graph, threads=1)
    return np.concatenate([session.run([FEATURES_OUTPUT], {INPUT: some})[0] for some in in_batches(squares)])


def unit(x: Floats) -> Floats:
    """Rows of length 1."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def accuracy(x: Floats, y: NDArray[np.int64]) -> float:
    """Balanced, held out, mean over all cuts."""
    return float(np.mean([cut_accuracy(x, y, np.random.default_rng(number)) for number in range(_CUTS)]))


def cut_accuracy(x: Floats, y: NDArray[np.int64], chance: np.random.Generator) -> float:
    """Balanced accuracy over all folds of one cut."""
    classes = int(y.max()) + 1
    confusion = np.zeros((classes, classes), np.int64)
    for held_out in np.array_split(chance.permutation(len(y)), _FOLDS):
        known = np.setdiff1d(np.arange(len(y)), held_out)
        guessed = (x[held_out] @ ridge(x[known], np.eye(classes, dtype=np.float32)[y[known]])).argmax(1)
        np.add.at(confusion, (y[held_out], guessed), 1)
    balanced = Metrics.from_confusion(confusion).balanced_accuracy
    assert balanced is not None
    return balanced


def ridge(x: Floats, y: Floats) -> Floats:
    """The (f, K) solution of ridge regression, by the n equations of its dual, for n < f."""
    return np.asarray(x.T @ np.linalg.solve(x @ x.T + _RIDGE * np.eye(len(x), dtype=np.float32), y), np.float32)


def speed(graph: bytes, small: bytes, repeat: int) -> Sequence[Figure]:
    """Milliseconds a picture of both, and how many times faster the small one is."""
    sessions, figures = [open_session(each, threads=1) for each in (small, graph)], []
    for count, side in ((_BATCH, _SIDE), (1, _SIDE), (1, 224)):
        some = np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)
        taken = [[milliseconds(session, some) for session in sessions] for _ in range(repeat)]
        ours, rival = np.min(taken, axis=0)
        what = f"{side} px, {count} at once"
        promised = FASTER if instructions() and count == _BATCH else None
        figures.append(Figure(f"processor time a picture, {what}", ours, "ms", rival=rival))
        figures.append(Figure(f"times faster, {what}", rival / ours, "times", at_least=promised))
    return figures


def milliseconds(session: object, some: Pixels) -> float:
    """Processor time of this thread for one picture of a batch."""
    before = time.thread_time()
    session.run([FEATURES_OUTPUT], {INPUT: some})  # type: ignore[attr-defined]  # ONNX Runtime has no types
    return (time.thread_time() - before) * 1e3 / len(some)


if __name__ == "__main__":
    sys.exit(main())
