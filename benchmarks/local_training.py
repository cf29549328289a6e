"""How much faster does a device learn because it computes each picture's features once? One process, one device.

    make bench NAME=local_training ARGS="--json"

*Ours* is the product's own ``Learner`` on a fresh state folder: it reads the data folder, computes features into the
cache, trains the head for ten epochs, measures, and stores the result. The *rival* is the plain loop of the
demonstrations: in every epoch all pictures are decoded, go through the backbone, and then move the head. It is spared
what it can be spared: it decodes ahead as ours does, uses the same graph and the same steps, and neither looks for new
pictures nor stores anything. All pictures are for training.

Feature extraction is compared with bare ONNX Runtime: the same graph on the same batches, decoded beforehand, results
thrown away. Both are repeated by turns, and the best of each counts, since other work on the machine only slows down.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.report import Figure, Report
from benchmarks.shapes import CLASSES, SIDE, draw
from fanlight.core.randomness import Keystream
from fanlight.learning import model_file, pictures
from fanlight.learning.backbones import DEFAULT_BACKBONE, compile_backbone
from fanlight.learning.feature_cache import FeatureCache
from fanlight.learning.features import FeatureExtractor, open_session
from fanlight.learning.heads import SoftmaxHead, zero_head
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT, INPUT
from fanlight.learning.model_file import HeadModel
from fanlight.learning.training import train
from fanlight.protocol.plan import Plan
from fanlight.services.device.learned import Held
from fanlight.services.device.learner import Learner, training_settings
from fanlight.services.device.pictures import Pictures
from fanlight.services.device.store import DeviceStore
from fanlight.services.http.jobs import Point
from fanlight.services.main_server.task import Task, Training

PICTURES, EPOCHS = 1_000, 10
FIRST_TIMES, LATER_TIMES, SHARE = 8, 100, 0.9
"""How many times faster than the plain loop, and how much of bare ONNX Runtime's speed."""
_THREADS, _BATCH = 1, 8
_LATER = 5


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="to learn from")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over them")
    parser.add_argument("--repeat", type=int, default=3, help="how often feature extraction is timed")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    arguments = parser.parse_args()
    return measure(arguments.pictures, arguments.epochs, arguments.repeat).show(as_json=arguments.json)


def measure(count: int, epochs: int, repeat: int) -> Report:
    """Ours the first time, later, and after a restart; the plain loop; feature extraction and bare ONNX Runtime."""
    with tempfile.TemporaryDirectory(prefix="fanlight-training-") as name:
        folder = Path(name)
        draw(folder / "pictures" / "train", count)
        plan = plan_of(epochs)
        first, later, restarted = our_times(folder, plan)
        paths = sorted(folder.glob("pictures/train/*/*"))
        plain = time_of(lambda: train_plainly(folder / "plain", paths, plan))
        ours, bare = extraction_times(folder / "plain", paths, repeat)
    what = f"{count} pictures, {epochs} epochs"
    return Report(
        "local_training",
        (
            Figure(f"{what}, first time", first.wall, "s", rival=plain.wall),
            Figure("the same, processor time", first.processor, "s", rival=plain.processor),
            Figure("times faster, first time", plain.wall / first.wall, "times", at_least=FIRST_TIMES),
            Figure(f"{what}, second round on (median)", later.wall, "s", rival=plain.wall),
            Figure("times faster, second round on", plain.wall / later.wall, "times", at_least=LATER_TIMES),
            Figure(f"{what}, second round after a restart", restarted.wall, "s", rival=plain.wall),
            Figure("features, pictures a second", count / ours.wall, "1/s", rival=count / bare.wall),
            Figure("share of bare ONNX Runtime's speed", bare.wall / ours.wall, "", at_least=SHARE),
        ),
    )


def plan_of(epochs: int) -> Plan:
    """The default task's plan for ``CLASSES``, with exactly so many epochs."""
    return Task(classes=CLASSES, picture_size=SIDE, training=Training(epochs=epochs, patience=epochs)).plan


class Taken(NamedTuple):
    """Seconds by the clock and of processor time; the latter says more where the machine has other work, too."""

    wall: float
    processor: float


def time_of(work: Callable[[], object]) -> Taken:
    """How long it takes."""
    before = time.perf_counter(), time.process_time()
    work()
    return Taken(time.perf_counter() - before[0], time.process_time() - before[1])


# -- ours


def our_times(folder: Path, plan: Plan) -> tuple[Taken, Taken, Taken]:
    """Of a first training, of later ones (median), and of one after a restart of the device."""
    with device(folder) as learner:
        held = hold_empty_model(learner.store, plan)
        first = time_of(lambda: learner.train(held, _unwatched))
        later = sorted(time_of(lambda: learner.train(held, _unwatched)) for _ in range(_LATER))
    with device(folder) as learner:
        restarted = time_of(lambda: learner.train(held, _unwatched))
    return first, later[_LATER // 2], restarted


@contextmanager
def device(folder: Path) -> Iterator[Learner]:
    """The parts of a device that learn, put together as ``services.device.role`` does."""
    store = DeviceStore(folder / "state")
    try:
        known = Pictures(folder / "pictures", folder / "state", threads=_THREADS, batch=_BATCH)
        yield Learner(store, known, time.time, os.urandom)
    finally:
        store.close()


def hold_empty_model(store: DeviceStore, plan: Plan) -> Held:
    """Store a head of zeros, as devices fetch it before the first round."""
    head = zero_head(plan.features, len(plan.classes))
    backbone = (plan.backbone, plan.backbone_hash.hex())
    file = model_file.encode(
        HeadModel(plan.task, 0, plan.classes, *backbone, plan.picture_size, head.weight, head.bias)
    )
    held = Held(sha256=bytes.fromhex(model_file.model_hash(file)), version=0, plan_bytes=plan.encode())
    with store.unfinished_model(held.sha256) as begun:
        begun.write(0, file)
        store.hold(held, begun)
    return held


def _unwatched(fraction: float, text: str = "", point: Point | None = None) -> None:
    """The progress that nobody reads."""


# -- the rivals


def train_plainly(folder: Path, paths: Sequence[Path], plan: Plan) -> SoftmaxHead:
    """Every epoch decodes every picture and puts it through the backbone, which is compiled into ``folder``."""
    compiled = compile_backbone(plan.backbone, folder)
    extractor = FeatureExtractor(compiled, SIDE, threads=_THREADS, batch=_BATCH)
    y = np.array([plan.classes.index(path.parent.name) for path in paths], np.int64)
    none, nothing = np.empty((0, plan.features), np.float32), np.empty(0, np.int64)
    head, stream = zero_head(plan.features, len(plan.classes)), Keystream(os.urandom(32))
    for _ in range(plan.epochs):
        once = replace(training_settings(plan), epochs=1)
        result = train(head, extractor.extract(paths), y, none, nothing, once, stream)
        head = SoftmaxHead(result.weight, result.bias)
    return head


def extraction_times(folder: Path, paths: Sequence[Path], repeat: int) -> tuple[Taken, Taken]:
    """For the features of all pictures: ours, reading files and writing the cache; bare ONNX Runtime."""
    compiled = compile_backbone(DEFAULT_BACKBONE, folder)
    pixels = [pictures.load(path, SIDE) for path in paths]
    batches = [np.stack(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)]
    session, ours, bare = open_session(compiled.read(), _THREADS), [], []

    def run_all() -> None:
        for batch in batches:
            session.run([FEATURES_OUTPUT], {INPUT: batch})

    session.run([FEATURES_OUTPUT], {INPUT: batches[0]})
    for number in range(repeat):
        cache = FeatureCache(folder / str(number), compiled.sha256, SIDE, compiled.features)
        extractor = FeatureExtractor(compiled, SIDE, cache, threads=_THREADS, batch=_BATCH)
        extractor.run(batches[0])
        ours.append(time_of(partial(extractor.extract, paths)))
        bare.append(time_of(run_all))
    return min(ours), min(bare)


if __name__ == "__main__":
    sys.exit(main())
