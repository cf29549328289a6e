"""A fifth of the devices attack: which attacks break the mean, and which middle of shards stands them.

    python examples/attack_and_defence.py                        digits, some minutes the first time
    python examples/attack_and_defence.py --small --plot p.html  made-up data, seconds; and a picture of the table

No server sees single reports. But rounds can be summed in shards, and of several sums a median can be taken where a
mean could be pulled anywhere. A shard with one attacker is a bad one; so there must be many more shards than attackers,
or attackers in few of them: here 5 % of the devices attack, and 16 shards of a few devices each are drawn anew in each
round.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fanlight.learning.algorithms.robust import ROBUST
from fanlight.simulation import Data, Result, Study, simulate
from fanlight.simulation.attacks.registry import ATTACKS
from fanlight.simulation.plots import Curve, chart
from fanlight.simulation.report import whole

SHARE = 0.05
PARAMETERS = {
    "sign-flip": ",factor=20",
    "scaling": ",factor=30",
    "noise": ",factor=30",
    "backdoor": ",side=25,factor=30",
    "ipm": ",epsilon=30",
}
COMBINES = ("mean", *ROBUST)


def small_data() -> Data:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, 2000)
    return Data.of(generator.standard_normal((2000, 20)) + 2 * np.eye(4, 20)[y], y)


def study_of(attack: str, combine: str, small: bool) -> Study:
    """Updates may be long here (``clip``): how far a short clip alone already helps is another question."""
    return Study.of(
        {
            "dataset": "digits",
            "partition": "iid",
            "devices": 60 if small else 80,
            "rounds": 5 if small else 15,
            "training": {"learning_rate": 0.1 if small else 0.02, "epochs": 2},
            "clip": 50,
            "attack": attack,
            "algorithm": "fedavg" if combine == "mean" else f"fedavg:combine={combine}",
            "shards": 16,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="made-up data, few rounds")
    parser.add_argument("--plot", type=Path, help="an HTML file to write")
    given = parser.parse_args()
    data = small_data() if given.small else None
    attacks = [name for name in ATTACKS if not (given.small and name == "backdoor")]  # it needs pictures
    lines = {"nobody": ""} | {name: f"{name}:{SHARE}{PARAMETERS.get(name, '')}" for name in attacks}
    table: dict[str, list[Result]] = {}
    print(f"{'balanced accuracy at the end':30}" + "".join(f"{combine:>18}" for combine in COMBINES))
    for name, attack in lines.items():
        table[name] = [simulate(study_of(attack, combine, given.small), data) for combine in COMBINES]
        print(f"{name:30}" + "".join(f"{result.last.balanced_accuracy:18.3f}" for result in table[name]), flush=True)
        successes = [result.last.backdoor_success for result in table[name]]
        if None not in successes:
            print(f"{'  success of the backdoor':30}" + "".join(f"{success:18.3f}" for success in successes))
    if given.plot:
        given.plot.write_text(whole("Attack and defence", [curves(name, results) for name, results in table.items()]))


def curves(attack: str, results: list[Result]) -> str:
    drawn = [
        Curve(combine, [line.round for line in result.rounds], [line.balanced_accuracy for line in result.rounds])
        for combine, result in zip(COMBINES, results, strict=True)
    ]
    return chart(f"Balanced accuracy, attack: {attack}", "round", drawn)


if __name__ == "__main__":
    main()
