"""Why does SCAFFOLD swing from round to round with a network? Without the package: two algorithms by hand, in NumPy.

    make bench NAME=swings ARGS="--json"
    make bench NAME=swings ARGS="--case rate/3 --seed 0 --seed 2"

Fashion-MNIST at 14 x 14 pixels, one hidden layer of 32; ten devices by Dirichlet 0.5, all in each of 20 rounds, with
five passes in batches of 64, learning rate 0.1, momentum 0.9; 1,000 test pictures. A case changes one thing for
SCAFFOLD, or, as *fedavg*, the algorithm. *Falls* is by how much accuracy falls after the eighth round, all falls of a
run added up; *last* the accuracy of the last model. If SCAFFOLD swings here too, it is not the package that does it.
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

from benchmarks.report import Figure, Report
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.data import load
from fanlight.simulation.partitions import partition

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

SPEC: Final = "dirichlet:0.5"
DEVICES, ROUNDS, BATCH, MOMENTUM, TESTED = 10, 20, 64, np.float32(0.9), 1000
SIDE: Final = 14
INPUTS, HIDDEN, CLASSES = SIDE * SIDE, 32, 10
SHAPES: Final = ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
SETTLED: Final = 7
"""Falls count from the round after the next."""


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        scaffold: SCAFFOLD or FedAvg.
        rate: learning rate. epochs: passes in a round.
        alike: do devices weigh the same?
        batches: of a pass, the same number on each device; 0 = batches of 64.
    """

    scaffold: bool = True
    rate: float = 0.1
    epochs: int = 5
    alike: bool = False
    batches: int = 0


CASES: Final = {
    "fedavg": Case(scaffold=False),
    "scaffold": Case(),
    "equal weights": Case(alike=True),
    "equal weights and steps": Case(alike=True, batches=7),
    "rate/3": Case(rate=0.1 / 3),
    "one pass": Case(epochs=1),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="swings", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--case", action="append", choices=tuple(CASES), help="may be given repeatedly; all")
    parser.add_argument("--seed", action="append", type=int, help="may be given repeatedly; 0, 1 and 2")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fanlight-swings-") as folder:
        data = load("fashion", Path(folder), as_pixels=True)
    x, y = smaller(data.x), data.y
    figures = []
    for name in options.case or CASES:
        for seed in options.seed or range(3):
            course = run(CASES[name], x, y, seed)
            words = " ".join(f"{each:.2f}" for each in course)
            print(f"{name}, seed {seed}: {words}", file=sys.stderr, flush=True)
            figures += [
                Figure(f"{name}, seed {seed}, falls", falls(course[SETTLED:]), "accuracy"),
                Figure(f"{name}, seed {seed}, last", course[-1], "fraction"),
            ]
    return Report("swings", tuple(figures)).show(as_json=options.json)


def smaller(pixels: Floats) -> Floats:
    """(n, 1, 28, 28) to (n, 196): means of 2 x 2."""
    means: Floats = pixels.reshape(-1, SIDE, 2, SIDE, 2).mean((2, 4)).reshape(len(pixels), -1).astype(np.float32)
    return means


def falls(course: Sequence[float]) -> float:
    """All falls of a course added up."""
    return float(-np.minimum(np.diff(course), 0).sum())


def run(case: Case, x: Floats, y: Labels, seed: int) -> list[float]:
    """Accuracy after each round."""
    draw = np.random.default_rng(seed)
    test = draw.permutation(y.size)[:TESTED]
    train = np.setdiff1d(np.arange(y.size), test)
    homes = [train[mine] for mine in partition(SPEC, y[train], DEVICES, Chance(SPEC, seed))]
    weights = np.array([1.0 if case.alike else home.size for home in homes])
    first, second = (draw.normal(0, (2 / shape[0]) ** 0.5, shape[0] * shape[1]) for shape in (SHAPES[0], SHAPES[2]))
    model = np.concatenate([first, np.zeros(HIDDEN), second, np.zeros(CLASSES)]).astype(np.float32)
    controls, course = np.zeros((DEVICES, model.size), np.float32), []
    for _ in range(ROUNDS):
        shifts = controls.mean(axis=0) - controls if case.scaffold else np.zeros_like(controls)
        done = [walk(case, model, x[home], y[home], shift, draw) for home, shift in zip(homes, shifts, strict=True)]
        controls = np.array([mean for _, mean in done])
        moved = np.average([after - model for after, _ in done], axis=0, weights=weights)
        model = model + moved.astype(np.float32)
        course.append(float((scores(model, x[test])[1].argmax(axis=1) == y[test]).mean()))
    return course


def walk(
    case: Case, model: Floats, x: Floats, y: Labels, shift: Floats, draw: np.random.Generator
) -> tuple[Floats, Floats]:
    """Where a device ends, and the mean of its gradients: c_k - c + (x - y) / (K rate) for plain steps."""
    size = max(1, -(-y.size // case.batches)) if case.batches else BATCH
    velocity, total, steps, rate = np.zeros_like(model), np.zeros_like(model), 0, np.float32(case.rate)
    for _ in range(case.epochs):
        order = draw.permutation(y.size)
        for start in range(0, y.size, size):
            slope = gradient(model, x[order[start : start + size]], y[order[start : start + size]])
            total, steps = total + slope, steps + 1
            velocity = MOMENTUM * velocity - rate * (slope + shift)
            model = model + velocity
    return model, total / np.float32(steps)


def gradient(model: Floats, x: Floats, y: Labels) -> Floats:
    """(d,), of the mean cross-entropy."""
    hidden, logits = scores(model, x)
    slope = np.exp(logits - logits.max(axis=1, keepdims=True))
    slope /= slope.sum(axis=1, keepdims=True)
    slope[np.arange(y.size), y] -= 1
    slope /= y.size
    inner = (slope @ tensors(model)[2].T) * (hidden > 0)
    parts = (x.T @ inner, inner.sum(axis=0), hidden.T @ slope, slope.sum(axis=0))
    return np.concatenate([part.ravel() for part in parts])


def scores(model: Floats, x: Floats) -> tuple[Floats, Floats]:
    """(n, 32) of the hidden layer, and (n, 10) logits."""
    first, first_bias, second, second_bias = tensors(model)
    hidden: Floats = np.maximum(x @ first + first_bias, 0)
    return hidden, hidden @ second + second_bias


def tensors(model: Floats) -> list[Floats]:
    """Views in the shapes of ``SHAPES``."""
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])
    parts = np.split(model, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
