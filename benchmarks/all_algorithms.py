"""How well does each algorithm that a task can choose do with its defaults, where devices see different things?

    make bench NAME=all_algorithms ARGS="--json"
    make bench NAME=all_algorithms ARGS="--algorithm ditto --partition classes:1"
    make bench NAME=all_algorithms ARGS="--algorithm fedavg --partition iid --long-tail --class-weights off"

The algorithms themselves, in memory: no services, no masks, no clipping, no rounding. Ten devices share the pictures of
*digits*, all take part in every round, and the head learns from features of the frozen backbone with the settings of a
task with the defaults. Each device holds a fifth of its pictures back, and another fifth for early stopping. With
``--long-tail`` there are 500 pictures of the first class, and of each other seven tenths of the one before, down to 20.

*Global* is the balanced accuracy of the global model on what all have held back. *At home* is the mean over devices of
how much of its own pictures, held back, a device names rightly: with the global model, and, where the algorithm gives
each home a model of its own, with that. Mean and standard deviation over seeds, which draw who has what, what is held
back and the order of training.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.accuracy import Examples, Parts, pooled, read_features
from benchmarks.report import Figure, Report
from fanlight.core.metrics import Metrics
from fanlight.core.randomness import Keystream
from fanlight.core.tensors import TensorLayout
from fanlight.learning.algorithms.algorithm import Algorithm, Gathered
from fanlight.learning.algorithms.local import Outcome, Received
from fanlight.learning.algorithms.registry import RECIPES, recipe
from fanlight.learning.datasets import prepare
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.evaluation import evaluate
from fanlight.learning.heads import head_layout
from fanlight.learning.local_training import SoftmaxDescent, head_of
from fanlight.learning.training_settings import TrainingSettings
from fanlight.simulation.partitions import partition

CHOOSABLE: Final = tuple(name for name, each in RECIPES.items() if not each.why_not)
PARTITIONS: Final = ("dirichlet:0.1", "classes:1")
PERSONAL: Final = ("ditto", "fedper", "fedrep")
DEVICES: Final = 10
ROUNDS: Final = 10
SEEDS: Final = 3
DEFAULTS: Final = TrainingSettings()
LONG_TAIL: Final = (500, 350, 245, 170, 120, 84, 59, 41, 29, 20)


@dataclass(frozen=True)
class Found:
    """What one run has found; fractions.

    Attributes:
        everywhere: balanced accuracy of the global model on all that is held back.
        at_home: mean over devices of the share of their own pictures that the global model names rightly.
        own: the same with each device's own model.
    """

    everywhere: float
    at_home: float
    own: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="all_algorithms", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--algorithm", action="append", choices=CHOOSABLE, help="may be given repeatedly; all")
    parser.add_argument("--partition", action="append", help="who has what; may be given repeatedly")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="after so many rounds")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each")
    parser.add_argument("--long-tail", action="store_true", help="fewer pictures from class to class")
    parser.add_argument("--class-weights", choices=("own", "federation", "off"), default="own", help="by whose counts")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fanlight-all-algorithms-") as folder:
        data = prepare("digits", 2, 0, Path(folder) / "pictures")
        parts = pooled(read_features(data, Path(folder) / "backbones")).values()
    examples = Examples(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))
    if options.long_tail:
        kept = np.concatenate([np.flatnonzero(examples.y == label)[:count] for label, count in enumerate(LONG_TAIL)])
        examples = Examples(examples.x[kept], examples.y[kept])
    counts = tuple(np.bincount(examples.y).tolist()) if options.class_weights == "federation" else ()
    settings = TrainingSettings(class_weights=options.class_weights != "off", class_counts=counts)
    figures = [
        figure
        for spec in options.partition or PARTITIONS
        for name in options.algorithm or CHOOSABLE
        for figure in compare(examples, spec, name, options.rounds, options.seeds, settings)
    ]
    return Report("all_algorithms", tuple(figures)).show(as_json=options.json)


def compare(
    examples: Examples, spec: str, name: str, rounds: int, seeds: int, settings: TrainingSettings
) -> list[Figure]:
    """The figures of one algorithm for one answer to who has what."""
    algorithm = recipe(name).of({})
    found = [run(algorithm, homes(examples, spec, DEVICES, seed), rounds, seed, settings) for seed in range(seeds)]
    said = {"global": [one.everywhere for one in found], "global, at home": [one.at_home for one in found]}
    if name in PERSONAL:
        said["own, at home"] = [one.own for one in found]
    words = ", ".join(f"{what} {np.mean(each):.3f} ± {np.std(each):.3f}" for what, each in said.items())
    print(f"{spec}: {name}: {words}", file=sys.stderr, flush=True)
    return [Figure(f"{spec}: {name}, {what}", float(np.mean(each)), "fraction") for what, each in said.items()]


def homes(examples: Examples, spec: str, devices: int, seed: int) -> list[Parts]:
    """Each device's pictures, a fifth of them held back and a fifth for early stopping."""
    found = []
    for number, mine in enumerate(partition(spec, examples.y, devices, Chance(spec, seed))):
        order = np.random.default_rng([seed, number]).permutation(np.asarray(mine, np.int64))
        cut = -(-order.size // 5)
        rows = {"test": order[:cut], "valid": order[cut : 2 * cut], "train": order[2 * cut :]}
        found.append({part: Examples(examples.x[which], examples.y[which]) for part, which in rows.items()})
    return found


def run(
    algorithm: Algorithm, devices: Sequence[Parts], rounds: int, seed: int, settings: TrainingSettings = DEFAULTS
) -> Found:
    """So many rounds that start from zeros, with all devices that have something to learn from."""
    devices = [device for device in devices if device["train"].y.size]
    classes = 1 + max(int(device["train"].y.max()) for device in devices)
    layout = head_layout(devices[0]["train"].x.shape[1], classes)
    state, memories = algorithm.init(np.zeros(layout.size)), [dict[str, NDArray[np.float64]]() for _ in devices]
    weights = np.array([device["train"].y.size for device in devices], np.float64)
    outcomes: list[Outcome] = []
    for number in range(rounds):
        received = Received(state.parameters, layout, {name: state.memory[name] for name in algorithm.publishes})
        outcomes = [
            algorithm.local(received, memory, descent(device, layout, (seed, number, place), settings))
            for place, (device, memory) in enumerate(zip(devices, memories, strict=True))
        ]
        memories = [dict(outcome.memory) for outcome in outcomes]
        state = algorithm.apply(state, gathered(outcomes, weights))
    everybody = Examples(*(np.concatenate([getattr(device["test"], which) for device in devices]) for which in "xy"))
    at_home = [right(layout, state.parameters, device["test"]) for device in devices]
    own = [right(layout, outcome.own, device["test"]) for outcome, device in zip(outcomes, devices, strict=True)]
    balanced = metrics(layout, state.parameters, everybody).balanced_accuracy or 0.0
    return Found(balanced, float(np.mean(at_home)), float(np.mean(own)))


def gathered(outcomes: Sequence[Outcome], weights: NDArray[np.float64]) -> Gathered:
    """What the server would learn of a round's sum."""
    controls = [outcome.control for outcome in outcomes if outcome.control is not None]
    steps = [outcome.steps for outcome in outcomes if outcome.steps is not None]
    return Gathered(
        np.average([outcome.update for outcome in outcomes], axis=0, weights=weights),
        count=len(outcomes),
        weight=float(weights.sum()),
        control=np.mean(controls, axis=0) if controls else None,
        steps=float(np.average(steps, weights=weights)) if steps else None,
    )


def descent(
    device: Parts, layout: TensorLayout, order: tuple[int, int, int], settings: TrainingSettings
) -> SoftmaxDescent:
    """Local training of one device in one round."""
    train, valid = device["train"], device["valid"]
    stream = Keystream(bytes(20) + b"".join(number.to_bytes(4, "big") for number in order))
    return SoftmaxDescent(layout, train.x, train.y, valid.x, valid.y, settings, stream)


def metrics(layout: TensorLayout, parameters: NDArray[np.float64], test: Examples) -> Metrics:
    """Of a model on some pictures."""
    head = head_of(layout, parameters)
    names = [str(label) for label in range(head.classes)]
    return Metrics.from_confusion(evaluate(head.weight, head.bias, test.x, test.y, names).confusion)


def right(layout: TensorLayout, parameters: NDArray[np.float64], test: Examples) -> float:
    """Share of the pictures that are named rightly."""
    return metrics(layout, parameters, test).accuracy or 0.0


if __name__ == "__main__":
    sys.exit(main())
