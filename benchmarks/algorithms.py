"""Which server learning rate η and adaptivity τ suit FedAdam, FedYogi and FedAdagrad here, and what FedAvg makes of it?

    make bench NAME=algorithms ARGS="--json"
    make bench NAME=algorithms ARGS="--dataset digits --algorithm fedadam --rounds 20"

The algorithms themselves, in memory: no services, no masks, no rounding. Two devices of ``fanlight demo``: *faces* are
dealt out alike, of *digits* one has 0 to 4 and the other 5 to 9. Features, local training and its settings are those of
a task with the defaults. Each pair of η and τ starts from the same zeros, with the same batch orders.

*After N rounds* is the balanced accuracy of the global model on the test pictures of both devices, for each pair. The
last figures of a data set are those of the defaults, with FedAvg as the rival.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.accuracy import Parts, pooled, read_features
from benchmarks.report import Figure, Report, say
from fanlight.core.metrics import Metrics
from fanlight.core.randomness import Keystream
from fanlight.core.tensors import TensorLayout
from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, State
from fanlight.learning.algorithms.local import Received
from fanlight.learning.algorithms.registry import recipe
from fanlight.learning.datasets import prepare
from fanlight.learning.evaluation import evaluate
from fanlight.learning.heads import head_layout
from fanlight.learning.local_training import SoftmaxDescent, head_of
from fanlight.learning.training_settings import TrainingSettings

DATASETS = ("faces", "digits")
ADAPTIVE = ("fedadam", "fedyogi", "fedadagrad")
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03)
TAUS = (0.0001, 0.001, 0.01)
ROUNDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="algorithms", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", action="append", choices=DATASETS, help="may be given repeatedly; both")
    parser.add_argument("--algorithm", action="append", choices=ADAPTIVE, help="may be given repeatedly; all three")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="after so many rounds")
    parser.add_argument("--learning-rate", action="append", type=float, help="η; a grid")
    parser.add_argument("--tau", action="append", type=float, help="τ; a grid")
    parser.add_argument("--seed", type=int, default=0, help="fixes how pictures are drawn and split, and batch orders")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    options = parser.parse_args(arguments)
    grid = list(itertools.product(options.learning_rate or LEARNING_RATES, options.tau or TAUS))
    figures = [
        figure
        for dataset in options.dataset or DATASETS
        for figure in compare(dataset, options.algorithm or ADAPTIVE, grid, options.rounds, options.seed)
    ]
    return Report("algorithms", tuple(figures)).show(as_json=options.json)


def compare(
    dataset: str, names: Sequence[str], grid: Sequence[tuple[float, float]], rounds: int, seed: int
) -> Iterator[Figure]:
    """The figures of one data set."""
    with tempfile.TemporaryDirectory(prefix="fanlight-algorithms-") as folder:
        data = prepare(dataset, 2, seed, Path(folder) / "pictures")
        devices = read_features(data, Path(folder) / "backbones")
    local, classes = TrainingSettings(), len(data.classes)

    def run(name: str, changes: Mapping[str, float] = MappingProxyType({})) -> float:
        return right(recipe(name).of(changes), devices, local, classes, rounds, seed)

    average = run("fedavg")
    for name in names:
        for learning_rate, tau in grid:
            found = run(name, {"learning_rate": learning_rate, "tau": tau})
            yield say(Figure(f"{dataset}: {name}, η {learning_rate:g}, τ {tau:g}", found, "fraction"))
        yield say(Figure(f"{dataset}: {name} by default, {rounds} rounds", run(name), "fraction", rival=average))


def right(
    algorithm: Algorithm, devices: Sequence[Parts], settings: TrainingSettings, classes: int, rounds: int, seed: int
) -> float:
    """Balanced accuracy after so many rounds that start from zeros."""
    layout = head_layout(devices[0]["train"].x.shape[1], classes)
    state: State = algorithm.init(np.zeros(layout.size))
    weights = np.array([device["train"].y.size for device in devices], np.float64)
    for number in range(rounds):
        updates = [
            algorithm.local(
                Received(state.parameters, layout), {}, _descent(device, layout, settings, (seed, number, place))
            ).update
            for place, device in enumerate(devices)
        ]
        mean = np.average(updates, axis=0, weights=weights)
        state = algorithm.apply(state, Gathered(mean, count=len(devices)))
    head, test = head_of(layout, state.parameters), pooled(devices)["test"]
    counts = evaluate(head.weight, head.bias, test.x, test.y, [str(label) for label in range(classes)])
    return Metrics.from_confusion(counts.confusion).balanced_accuracy or 0.0


def _descent(
    device: Parts, layout: TensorLayout, settings: TrainingSettings, order: tuple[int, int, int]
) -> SoftmaxDescent:
    train, valid = device["train"], device["valid"]
    stream = Keystream(bytes(20) + b"".join(number.to_bytes(4, "big") for number in order))
    return SoftmaxDescent(layout, train.x, train.y, valid.x, valid.y, settings, stream)


if __name__ == "__main__":
    sys.exit(main())
