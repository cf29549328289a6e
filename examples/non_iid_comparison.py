"""Devices that have different pictures: what it does to federated averaging, and what helps.

    python examples/non_iid_comparison.py                        digits, some minutes the first time
    python examples/non_iid_comparison.py --small --plot p.html  made-up data, seconds; and a picture of the curves

Softmax regression on raw pixels suffers when each device has few classes (Zhao et al. 1806.00582): local steps go
where the device's own classes are. SCAFFOLD takes the pull out (Karimireddy et al. 1910.06378); features of a network
that was trained before bring the devices' optima together (Nguyen et al. 2206.15387); a head that is solved from sums
does not depend on who has what at all (Fanì et al. 2402.10157).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fanlight.simulation import Data, Result, Study, simulate
from fanlight.simulation.data import load
from fanlight.simulation.plots import Curve, chart
from fanlight.simulation.report import whole

PARTITIONS = ("iid", "dirichlet:0.1", "classes:1")
STATE = Path("fanlight-state")


def data_of(small: bool) -> tuple[Data, Data]:
    """Pixels, or what stands for them, and features of the pre-trained network."""
    if not small:
        pixels = load("digits", STATE, as_pixels=True)
        flat = Data.of(pixels.x.reshape(len(pixels.y), -1) - pixels.x.mean(), pixels.y, pixels.classes)
        return flat, load("digits", STATE, as_pixels=False)
    generator = np.random.default_rng(0)
    y = generator.integers(0, 5, 1000)
    clouds = generator.standard_normal((1000, 30))
    alike = 1.5 * np.ones((5, 30)) + np.eye(5, 30)  # of all classes: as pixels, which are of one sign
    return Data.of(clouds + alike[y], y), Data.of(clouds + 2.5 * np.eye(5, 30)[y], y)


def study_of(partition: str, small: bool, **changes: object) -> Study:
    training = {"learning_rate": 0.02, "epochs": 5, "patience": 5}
    size = {"devices": 20, "cohort": 10, "rounds": 8} if small else {"devices": 50, "cohort": 10, "rounds": 40}
    return Study.of({"partition": partition, "training": training, "supporters": 1, **size, **changes})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="made-up data, few rounds")
    parser.add_argument("--plot", type=Path, help="an HTML file to write")
    given = parser.parse_args()
    pixels, features = data_of(given.small)
    ways: dict[str, tuple[Data, dict[str, object]]] = {
        "FedAvg, pixels": (pixels, {}),
        "FedProx, pixels": (pixels, {"algorithm": "fedprox:mu=0.1"}),
        "SCAFFOLD, pixels": (pixels, {"algorithm": "scaffold"}),
        "FedAvg, pre-trained": (features, {}),
        "analytic, pre-trained": (features, {"head": "analytic", "rounds": 1}),
    }
    results: dict[str, list[Result]] = {}
    print(f"{'balanced accuracy at the end':28}" + "".join(f"{partition:>15}" for partition in PARTITIONS))
    for name, (examples, changes) in ways.items():
        results[name] = [simulate(study_of(partition, given.small, **changes), examples) for partition in PARTITIONS]
        print(f"{name:28}" + "".join(f"{result.last.balanced_accuracy:15.3f}" for result in results[name]), flush=True)
    if given.plot:
        given.plot.write_text(
            whole(
                "Who has what, and what it does",
                [*map(curves, PARTITIONS, zip(*results.values(), strict=True), [list(results)] * 3)],
            )
        )


def curves(partition: str, results: tuple[Result, ...], names: list[str]) -> str:
    """One chart: a curve for each way that goes round by round, a level for the one that is solved at once."""
    drawn = [
        Curve(name, [line.round for line in result.rounds], [line.balanced_accuracy for line in result.rounds])
        for name, result in zip(names, results, strict=True)
    ]
    levels = [(drawn[-1].label, drawn[-1].y[-1])]
    return chart(f"Balanced accuracy, {partition}", "round", drawn[:-1], levels)


if __name__ == "__main__":
    main()
