"""How much accuracy does federation cost? The real system against the same head trained on all pictures in one place.

    make bench NAME=accuracy ARGS="--json"
    make bench NAME=accuracy ARGS="--dataset digits --rounds 20 --seed 3"

*Federated* is the balanced accuracy of the last model of ``fanlight demo``: real processes, masked reports, measured on
the held-out pictures of both devices in an evaluation-only masked round.

*Pooled* is the rival: the training pictures of both devices in one place, their validation and test pictures likewise,
the very same files. Features, head, start (all zeros), learning rate, momentum, batch size, L2 and class weights are
those of the task. A federation may pass over its pictures rounds x epochs times, so the rival must not be held to the
epochs of one round: it trains until the pooled validation loss has not improved for 10 epochs, at most 500, and keeps
its best epoch. It is the mean of three batch orders, since one is a matter of luck.

*Alone* is the better one of the two devices, trained in the same way on its own pictures, on the same pooled test.

``--seed`` fixes how pictures are drawn and split. Batch order and rounding on the devices stay random, as they are in
earnest, so the federated figure moves a little from run to run.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.report import Figure, Report
from fanlight.core.metrics import Metrics
from fanlight.core.randomness import Keystream
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.datasets import NAMES, DataSet, prepare
from fanlight.learning.evaluation import evaluate
from fanlight.learning.features import FeatureExtractor
from fanlight.learning.folders import LabelledPicture, scan
from fanlight.learning.heads import zero_head
from fanlight.learning.split import PARTS
from fanlight.learning.training import train
from fanlight.learning.training_settings import TrainingSettings
from fanlight.services.main_server.task import Task

DEVICES = 2
MOST_EPOCHS = 500
PATIENCE = 10
BATCH_ORDERS = 3
_PORTS = DEVICES + 2
_LONGEST_RUN_S = 1800


@dataclass(frozen=True)
class Promise:
    """What the project promises for a data set with two devices.

    Attributes:
        rounds: after how many rounds.
        accuracy: least balanced accuracy of the federated model.
        gap_points: most percentage points behind the pooled head.
    """

    rounds: int
    accuracy: float | None = None
    gap_points: float | None = None


PROMISES = {"faces": Promise(3, 0.95, 3.0), "digits": Promise(10, 0.85)}


@dataclass(frozen=True)
class Examples:
    """Features (n, f) float32 and labels (n,) int64 of one part of the pictures."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


Parts = dict[str, Examples]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the exit code is 1 where a limit is broken or a run fails."""
    options = _parse(arguments)
    figures: list[Figure] = []
    for name in options.dataset or tuple(PROMISES):
        promise = PROMISES.get(name, Promise(5))
        rounds = options.rounds or promise.rounds
        if rounds < promise.rounds:
            print(f"{name}: fewer rounds than the {promise.rounds} that are promised: no limits apply", file=sys.stderr)
            promise = Promise(rounds)
        figures += compare(name, rounds, options.seed, promise)
    return Report("accuracy", tuple(figures)).show(as_json=options.json)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", action="append", choices=NAMES, help="may be given repeatedly; faces and digits")
    parser.add_argument("--rounds", type=_positive, help="training rounds (faces: 3, digits: 10, others: 5)")
    parser.add_argument("--seed", type=int, default=0, help="fixes how pictures are drawn and split")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def compare(name: str, rounds: int, seed: int, promise: Promise) -> list[Figure]:
    """The figures of one data set."""
    with tempfile.TemporaryDirectory(prefix="fanlight-accuracy-") as folder:
        state = Path(folder)
        federated = run_federation(name, rounds, seed, state)
        data = prepare(name, DEVICES, seed, state / "pictures")  # finds the files that the federation learned from
        devices = read_features(data, state / "backbones")
    pool = pooled(devices)
    settings = rival_settings(data)
    together = train_and_measure(pool, pool, settings, data.classes, seed)
    alone = max(train_and_measure(own, pool, settings, data.classes, seed) for own in devices)
    return [
        Figure(
            f"{name}: balanced accuracy, federated, {rounds} rounds",
            federated,
            "fraction",
            at_least=promise.accuracy,
            rival=together,
        ),
        Figure(f"{name}: balanced accuracy, pooled", together, "fraction"),
        Figure(f"{name}: balanced accuracy, alone", alone, "fraction"),
        Figure(
            f"{name}: gap between pooled and federated",
            100 * (together - federated),
            "points",
            at_most=promise.gap_points,
        ),
    ]


def run_federation(name: str, rounds: int, seed: int, state: Path) -> float:
    """Balanced accuracy of the last model of a real demo on free ports.

    Raises:
        SystemExit: the demo failed, or a round was abandoned.
    """
    words = ["demo", "--dataset", name, "--devices", str(DEVICES), "--rounds", str(rounds), "--seed", str(seed)]
    words += ["--port-base", str(free_port_base()), "--state", str(state), "--exit", "--json"]
    command = [sys.executable, "-m", "fanlight", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_LONGEST_RUN_S, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name}: the demo ended with exit code {done.returncode}: {done.stdout.strip()}")
    return float(json.loads(done.stdout)["rounds"][-1]["balanced_accuracy_after"])


def free_port_base() -> int:
    """The first of as many free ports in a row as a demo takes.

    Raises:
        SystemExit: there are none.
    """
    for base in range(18_000, 30_000, _PORTS):
        if all(_is_free(port) for port in range(base, base + _PORTS)):
            return base
    raise SystemExit("there are no free ports between 18000 and 30000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def read_features(data: DataSet, backbones: Path) -> list[Parts]:
    """Each device's features, computed as a device computes them."""
    compiled = compile_backbone(_task(data).backbone, backbones)
    extractor = FeatureExtractor(compiled, data.picture_size, threads=2)

    def examples(pictures: Sequence[LabelledPicture]) -> Examples:
        labels = np.array([picture.label for picture in pictures], np.int64)
        return Examples(extractor.extract([picture.path for picture in pictures]), labels)

    found = [scan(folder, data.classes) for folder in data.device_folders]
    return [{part: examples(pictures.part(part)) for part in PARTS} for pictures in found]


def pooled(devices: Sequence[Parts]) -> Parts:
    """All devices' pictures in one place, each in its part."""
    return {
        part: Examples(
            np.concatenate([device[part].x for device in devices]),
            np.concatenate([device[part].y for device in devices]),
        )
        for part in PARTS
    }


def rival_settings(data: DataSet) -> TrainingSettings:
    """The task's own settings, but for how long."""
    settings = TrainingSettings(**_task(data).training.model_dump())
    return replace(settings, epochs=MOST_EPOCHS, patience=PATIENCE)


def train_and_measure(
    own: Parts, test: Parts, settings: TrainingSettings, classes: tuple[str, ...], seed: int
) -> float:
    """Balanced accuracy on the pictures of ``test`` after training on ``own``; mean over batch orders."""
    return float(np.mean([_measure_one(own, test, settings, classes, seed, i) for i in range(BATCH_ORDERS)]))


def _measure_one(
    own: Parts, test: Parts, settings: TrainingSettings, classes: tuple[str, ...], seed: int, order: int
) -> float:
    learn, valid, held_out = own["train"], own["valid"], test["test"]
    stream = Keystream(seed.to_bytes(16, "big") + order.to_bytes(16, "big"))
    start = zero_head(learn.x.shape[1], len(classes))
    result = train(start, learn.x, learn.y, valid.x, valid.y, settings, stream)
    counts = evaluate(result.weight, result.bias, held_out.x, held_out.y, classes)
    accuracy = Metrics.from_confusion(counts.confusion).balanced_accuracy
    return float("nan") if accuracy is None else accuracy


def _task(data: DataSet) -> Task:
    return Task.default(classes=data.classes, picture_size=data.picture_size, demo=True)


if __name__ == "__main__":
    sys.exit(main())
