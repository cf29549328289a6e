"""Devices that have different pictures: what it does to federated averaging, and what helps.

    python examples/non_iid_comparison.py                        digits, some minutes the first time
    python examples/non_iid_comparison.py --small --plot p.html  made-up data, seconds; and a picture of the curves

Softmax regression on the pixels of digits suffers when each device has few classes (Zhao et al. 1806.00582): local
steps go where the device's own classes are. SCAFFOLD takes that pull out (Karimireddy et al. 1910.06378). On stamps,
which pixels say little of, features of a network that was trained before make up for more than unlike devices cost
(Nguyen et al. 2206.15387), and a head that is solved from their sums does not depend on who has what (Fanì et al.
2402.10157).
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


def ways(small: bool) -> dict[str, tuple[Data, dict[str, object]]]:
    """By name, the data and what is done with them."""
    training = {"learning_rate": 0.05, "epochs": 5}
    many: dict[str, object] = {"devices": 50, "training": training}
    few: dict[str, object] = {"devices": 20, "training": training}
    if small:
        digits, (stamps, features) = clouds(apart=1.0), (clouds(apart=1.0), clouds(apart=2.5))
        many, few = ({**each, "devices": 20, "rounds": 24} for each in (many, few))
    else:
        digits = flat(load("digits", STATE, as_pixels=True))
        stamps = flat(load("stamps", STATE, as_pixels=True, picture_size=32))
        features = load("stamps", STATE, as_pixels=False)
    return {
        "FedAvg, pixels of digits": (digits, many),
        "FedProx, pixels of digits": (digits, {**many, "algorithm": "fedprox:mu=0.1"}),
        "SCAFFOLD, pixels of digits": (digits, {**many, "algorithm": "scaffold"}),
        "FedAvg, pixels of stamps": (stamps, few),
        "FedAvg, pre-trained, stamps": (features, few),
        "analytic, pre-trained, stamps": (features, {**few, "head": "analytic", "rounds": 1, "cohort": 0}),
    }


def flat(pictures: Data) -> Data:
    """Each pixel a feature."""
    return Data.of(pictures.x.reshape(len(pictures.y), -1) - pictures.x.mean(), pictures.y, pictures.classes)


def clouds(apart: float) -> Data:
    """What stands for them: classes that share a direction, as pixels do, which are all of one sign."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 5, 1000)
    middles = (1.5 if apart < 2 else 0.0) + apart * np.eye(5, 30)
    return Data.of(generator.standard_normal((1000, 30)) + middles[y], y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="made-up data, few rounds")
    parser.add_argument("--plot", type=Path, help="an HTML file to write")
    given = parser.parse_args()
    results: dict[str, list[Result]] = {}
    print(f"{'balanced accuracy at the end':30}" + "".join(f"{partition:>15}" for partition in PARTITIONS))
    for name, (examples, how) in ways(given.small).items():
        studies = [Study.of({"partition": each, "cohort": 10, "rounds": 15, **how}) for each in PARTITIONS]
        results[name] = [simulate(study, examples) for study in studies]
        print(f"{name:30}" + "".join(f"{result.last.balanced_accuracy:15.3f}" for result in results[name]), flush=True)
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
