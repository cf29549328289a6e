"""One round that is solved against many that descend: accuracy, and what a device sends for it.

    python examples/analytic_against_iterative.py                        digits, a minute or two the first time
    python examples/analytic_against_iterative.py --small --plot p.html  made-up data, seconds; and a picture

Ridge regression on frozen features needs only sums of products, which add up over devices: one round gives the head
that all pictures in one place would give, whoever has which (Fanì et al. 2402.10157). Its report is longer, since it
holds products of all pairs of features; federated averaging sends short ones, many times.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fanlight.simulation import Data, Result, Study, simulate
from fanlight.simulation.plots import Curve, chart
from fanlight.simulation.report import whole

PARTITIONS = ("iid", "dirichlet:0.1", "classes:1")


def small_data() -> Data:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 5, 1500)
    return Data.of(generator.standard_normal((1500, 30)) + 2 * np.eye(5, 30)[y], y)


def study_of(partition: str, head: str, small: bool) -> Study:
    size = {"devices": 20, "cohort": 5} if small else {"devices": 50, "cohort": 10}
    rounds = 1 if head != "softmax" else 10 if small else 50
    everyone = {} if head == "softmax" else {"cohort": 0}  # who is not in the one round is not in its sums
    training = {"learning_rate": 0.05, "epochs": 5}
    return Study.of(
        {"dataset": "digits", "partition": partition, "head": head, "rounds": rounds, "training": training}
        | size
        | everyone
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="made-up data, few rounds")
    parser.add_argument("--plot", type=Path, help="an HTML file to write")
    given = parser.parse_args()
    data = small_data() if given.small else None
    charts = []
    print(f"{'who has what':16}{'head':12}{'rounds':>8}{'balanced accuracy':>20}{'kB a device':>14}")
    for partition in PARTITIONS:
        results = {
            head: simulate(study_of(partition, head, given.small), data)
            for head in ("analytic", "prototypes", "softmax")
        }
        for head, result in results.items():
            for rounds in sorted({1, len(result.rounds) // 2, len(result.rounds)} - {0}):
                accuracy = result.rounds[rounds - 1].balanced_accuracy
                print(f"{partition:16}{head:12}{rounds:8}{accuracy:20.3f}{sent_kb(result, rounds):14.0f}", flush=True)
        charts.append(curve(partition, results))
    if given.plot:
        given.plot.write_text(whole("Solved at once, or round by round", charts))


def sent_kb(result: Result, rounds: int) -> float:
    """Of one device in so many rounds."""
    return sum(line.bytes_up / line.participants for line in result.rounds[:rounds]) / 1000


def curve(partition: str, results: dict[str, Result]) -> str:
    lines = results["softmax"].rounds
    drawn = Curve("softmax, FedAvg", [line.round for line in lines], [line.balanced_accuracy for line in lines])
    levels = [(f"{head}, one round", results[head].last.balanced_accuracy) for head in ("analytic", "prototypes")]
    return chart(f"Balanced accuracy, {partition}", "round", [drawn], levels)


if __name__ == "__main__":
    main()
