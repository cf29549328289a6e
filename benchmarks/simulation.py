"""How fast are simulations, and how much memory do they take? Beside a plain loop, two processes, and Flower.

    make bench NAME=simulation
    make test-torch bench-flower                  # once: an environment with PyTorch, and Flower's, which has it too
    make bench NAME=simulation ARGS="--only cnn"

*cnn*: a small network in PyTorch (``benchmarks/peers/cnn.py``), by turns with its rivals, each in processes of its own;
``--torch`` is a Python with PyTorch and Fanlight's needs, ``--flower`` one with PyTorch and Flower. What is not there
is not measured. Memory is the sum of the unique and shared sizes (PSS) of all processes, at its most.

*heads*: 1,000 devices × 100 pictures of 1,280 features, 100 devices a round. A rival's time is worked out: the training
alone, by the same learner in one process, and 25 ms for each message, which Flower takes on this machine's like.

*flat*: 10,000 devices, a thousand rounds (``--rounds``), and how memory grows. *protocol*: 1,000 devices in both
fidelities. *ray*: two actors of Ray against two forked workers, if Ray is installed where this runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.report import Figure, Report
from fanlight.learning.algorithms.local import Descent
from fanlight.learning.heads import HeadKind
from fanlight.simulation import Data, Line, Study, simulate
from fanlight.simulation.learners import HeadLearner
from fanlight.simulation.population import Part
from fanlight.simulation.threads import single_threaded

ROOT = Path(__file__).resolve().parents[1]
FEATURES, CLASSES, PICTURES = 1280, 10, 100
MESSAGE_S = 0.025
PARTS = ("cnn", "heads", "flat", "protocol", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given repeatedly")
    parser.add_argument("--torch", type=Path, default=ROOT / ".venv-torch" / "bin" / "python")
    parser.add_argument("--flower", type=Path, default=ROOT / ".venv-flower" / "bin" / "python")
    parser.add_argument("--repeat", type=int, default=3, help="of the network's rivals, by turns")
    parser.add_argument("--rounds", type=int, default=1000, help="of the part flat")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[], list[Figure]]] = {
        "cnn": lambda: cnn(options.torch, options.flower, options.repeat),
        "heads": heads,
        "flat": lambda: flat(options.rounds),
        "protocol": protocol,
        "ray": on_ray,
    }
    figures = [figure for name in options.only or PARTS for figure in parts[name]()]
    return Report("simulation", tuple(figures)).show(as_json=options.json)


# -- a network


def cnn(with_torch: Path, with_flower: Path, repeat: int) -> list[Figure]:
    """Ours beside the plain loops and Flower."""
    if not with_torch.exists():
        return _missing(f"{with_torch}: the network is not measured")
    names = ["plain", "two-processes", "ours"]
    pythons = dict.fromkeys(names, with_torch)
    if with_flower.exists():
        names.append("flower")
        pythons["flower"] = with_flower
    else:
        _missing(f"{with_flower}: Flower is not measured")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            found[name].append(_measured([str(pythons[name]), str(ROOT / "benchmarks/peers/cnn.py"), name]))
    best = {name: {key: min(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}
    mine, two = best["ours"], best["two-processes"]
    figures = [
        Figure("cnn: a round", mine["ms"], "ms", rival=best["plain"]["ms"]),
        Figure("cnn: a round, of that of two plain processes", mine["ms"] / two["ms"], "", at_most=0.5),
        Figure("cnn: accuracy", mine["accuracy"], "", at_least=best["plain"]["accuracy"] - 0.05),
        Figure("cnn: the whole program", mine["seconds"], "s", rival=best["plain"]["seconds"]),
        Figure("cnn: memory", mine["pss"] / 1e6, "MB", rival=best["plain"]["pss"] / 1e6),
    ]
    if "flower" in best:
        theirs = best["flower"]
        figures += [
            Figure("cnn: times faster than Flower, a round", theirs["ms"] / mine["ms"], "times", at_least=5),
            Figure("cnn: the same, whole program", theirs["seconds"] / mine["seconds"], "times", at_least=4),
            Figure("cnn: memory, of Flower's", mine["pss"] / theirs["pss"], "", at_most=0.5),
        ]
    return figures


def _measured(command: list[str]) -> dict[str, float]:
    """What a run prints, and the most memory of all processes in its session."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    most = 0
    while process.poll() is None:
        most = max(most, _pss_of_session(process.pid))
        time.sleep(0.2)
    said = process.stdout.read().decode() if process.stdout else ""
    lines = [line for line in said.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said[-500:]}")
    return {**json.loads(lines[-1]), "pss": float(most)}


def _pss_of_session(leader: int) -> int:
    """Bytes; shared pages count in parts."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            if session == leader:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):
            continue
    return total


# -- heads


def heads(devices: int = 1000, cohort: int = 100, rounds: int = 100) -> list[Figure]:
    """A hundred devices a round."""
    study = _study(devices, cohort, rounds)
    took = _rounds(study, _data(devices, PICTURES))
    training_s = _training_s()
    rival = cohort * (MESSAGE_S + training_s)
    return [
        Figure(f"heads: a round of {cohort} devices", 1000 * took, "ms", rival=1000 * rival),
        Figure("heads: the same training alone, a device", 1000 * training_s, "ms"),
        Figure("heads: times Flower's rate", rival / took, "times", at_least=40),
    ]


def _training_s() -> float:
    """Seconds of one device's training, by the learner alone."""
    data = _data(1, PICTURES)
    learner = HeadLearner(HeadKind.SOFTMAX, FEATURES, data.classes, _study(1, 0, 1).training.settings)
    part, nobody = Part(data.x, data.y), Part(data.x[:0], data.y[:0])
    start, took = learner.start().astype(np.float64), []
    with single_threaded():
        for number in range(50):
            before = time.perf_counter()
            learner.descend(part, nobody, 0, number)(Descent(start))
            took.append(time.perf_counter() - before)
    return statistics.median(took)


def flat(rounds: int, devices: int = 10_000) -> list[Figure]:
    """Memory over many rounds."""
    sizes: list[int] = []

    def look(line: Line) -> None:
        if line.round in (rounds // 10, rounds):
            sizes.append(_pss_of_session(os.getsid(0)) if os.getsid(0) == os.getpid() else _own_pss())

    study = _study(devices, 100, rounds)
    data = _data(devices, 10)
    simulate(study, data, workers=2, on_round=look)
    return [
        Figure(f"flat: memory after {rounds} rounds of {devices} devices", sizes[-1] / 1e6, "MB", at_most=2000),
        Figure(f"flat: growth since round {rounds // 10}", (sizes[-1] - sizes[0]) / 1e6, "MB", at_most=20),
    ]


def _own_pss() -> int:
    """Of this process and its children."""
    me, total = os.getpid(), 0
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if folder.name == str(me) or int(fields[1]) == me:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration, IndexError):
            continue
    return total


def protocol(devices: int = 1000, rounds: int = 20) -> list[Figure]:
    """What the role machines cost."""
    data, study = _data(devices, 20), _study(devices, 0, rounds)
    fast, whole = (_rounds(study.model_copy(update={"fidelity": name}), data) for name in ("fast", "protocol"))
    return [
        Figure(f"protocol: a round of {devices} devices", whole, "s", rival=fast),
        Figure("protocol: times as long as fast", whole / fast, "times"),
    ]


def on_ray(devices: int = 1000, cohort: int = 100, rounds: int = 20) -> list[Figure]:
    """Two actors against two forked workers."""
    if importlib.util.find_spec("ray") is None:
        return _missing("Ray is not installed here: it is not measured")
    data, study = _data(devices, PICTURES), _study(devices, cohort, rounds)
    forked, ray = _rounds(study, data), _rounds(study, data, "ray")
    return [
        Figure("ray: a round", 1000 * ray, "ms", rival=1000 * forked),
        Figure("ray: rate, of the forked engine's", forked / ray, "", at_least=0.8),
    ]


def _rounds(study: Study, data: Data, engine: str = "forked") -> float:
    """Median seconds from the end of one round to that of the next."""
    ends: list[float] = []
    simulate(study, data, engine=engine, workers=2, on_round=lambda _: ends.append(time.perf_counter()))
    return statistics.median(after - before for before, after in pairwise(ends))


def _study(devices: int, cohort: int, rounds: int) -> Study:
    fields: dict[str, Any] = {"partition": "iid", "devices": devices, "cohort": cohort, "rounds": rounds}
    return Study.of({**fields, "test_percent": 1, "valid_percent": 0})


def _data(devices: int, pictures: int) -> Data:
    generator = np.random.default_rng(0)
    y = generator.integers(0, CLASSES, devices * pictures * 100 // 99 + 1)
    x = generator.standard_normal((len(y), FEATURES), dtype=np.float32)
    x += 0.1 * generator.standard_normal((CLASSES, FEATURES), dtype=np.float32)[y]
    return Data.of(x, y, [str(label) for label in range(CLASSES)])


def _missing(what: str) -> list[Figure]:
    print(f"There is no {what}.", file=sys.stderr)
    return []


if __name__ == "__main__":
    sys.exit(main())
