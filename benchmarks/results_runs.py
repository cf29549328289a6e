"""What ``benchmarks/results.py`` runs, and the figures of each: runs are kept, so that each is done once.

The *grid*: four data sets, four answers to who has what, eight ways to learn. Five studies give all eight: that of
FedAvg also trains the same head in one place and on each device alone, and the first round of a solved head that goes
on with softmax training is the solved head.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fanlight.simulation import Data, Study, simulate
from fanlight.simulation.folder import RESULT, folder_of

DATASETS: Final = ("faces", "digits", "fashion", "stamps")
PARTITIONS: Final = {
    "iid": "IID",
    "dirichlet:0.5": "Dirichlet 0.5",
    "dirichlet:0.1": "Dirichlet 0.1",
    "classes:1": "one class a device",
}
LOCAL, POOLED, ANALYTIC = "local only", "pooled", "analytic"
GOES_ON = "analytic + softmax"
STUDIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "FedAvg": {"algorithm": "fedavg", "baselines": True},
    "FedProx": {"algorithm": "fedprox"},
    "SCAFFOLD": {"algorithm": "scaffold"},
    "FedAdam": {"algorithm": "fedadam"},
    GOES_ON: {"head": "analytic"},
}
WAYS: Final = (LOCAL, POOLED, "FedAvg", "FedProx", "SCAFFOLD", "FedAdam", ANALYTIC, GOES_ON)
SHARE_OF_POOLED: Final = 0.95

NETWORK: Final = {"digits": "iid", "fashion": "dirichlet:0.5"}
"""Whose pixels the network learns, and who has what."""
NETWORK_STUDIES: Final = {"FedAvg": "fedavg", "SCAFFOLD": "scaffold", "FedProx": "fedprox", "FedNova": "fednova"}
PUBLISHED: Final = {"digits": (0.991, 0.992, 0.992, 0.990), "fashion": (0.884, 0.884, 0.886, 0.881)}
"""By Flower's baseline ``niid_bench``, in the order of ``NETWORK_STUDIES``: all of MNIST and of Fashion-MNIST."""

Run = Mapping[str, Any]
"""What a run has found, as in ``result.json``."""


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes:
        seeds: runs of each study.
        devices: in the federation; all are in each round.
        rounds: of heads.
        network_rounds, network_epochs: of the network: rounds, and passes of a device in each.
    """

    seeds: int = 3
    devices: int = 10
    rounds: int = 50
    network_rounds: int = 20
    network_epochs: int = 5


SMALL: Final = Size(seeds=2, devices=4, rounds=2, network_rounds=2, network_epochs=1)


def head_study(size: Size, dataset: str, partition: str, name: str, seed: int) -> Study:
    """One of the grid's, with what is documented as default."""
    return Study.of(
        {
            "dataset": dataset,
            "partition": partition,
            "devices": size.devices,
            "rounds": size.rounds,
            "seed": seed,
            **STUDIES[name],
        }
    )


def network_study(size: Size, dataset: str, name: str, seed: int) -> Study:
    """One of the network's, trained as in ``niid_bench`` but for the numbers of rounds and passes, and FedProx's μ."""
    training = {"epochs": size.network_epochs, "batch_size": 64, "learning_rate": 0.01, "l2": 0, "class_weights": False}
    return Study.of(
        {
            "dataset": dataset,
            "partition": NETWORK[dataset],
            "devices": size.devices,
            "rounds": size.network_rounds,
            "seed": seed,
            "algorithm": NETWORK_STUDIES[name],
            "module": "benchmarks.results_network:network",
            "valid_percent": 0,
            "training": training,
        }
    )


def found_by(study: Study, examples: Callable[[], Data], state: Path) -> Run:
    """What a study finds: what is kept of it, or else it is run, from where it stands.

    Raises:
        FanlightError: see ``simulate``.
    """
    kept = kept_of(study, state)
    if kept is not None:
        return kept
    name = study.head.value if study.head.is_solved else study.algorithm
    print(f"{study.dataset}, {study.partition}, {name}, seed {study.seed}", file=sys.stderr, flush=True)
    return simulate(study, examples(), folder=folder_of(study, state), state=state).as_json()


def kept_of(study: Study, state: Path) -> Run | None:
    """What is kept of a study that has been run to its end; None if there is nothing."""
    try:
        found: Run = json.loads((folder_of(study, state) / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found if found["study"] == study.as_json() else None


@dataclass(frozen=True)
class Cell:
    """One way to learn, one answer to who has what; a figure for each seed.

    Attributes:
        accuracy: balanced, of the last model, on held-out pictures.
        rounds: until 95 % of the pooled head's; None = never.
        megabytes: that a device has sent by then.
    """

    accuracy: tuple[float, ...]
    rounds: tuple[int | None, ...] = ()
    megabytes: tuple[float | None, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"balanced_accuracy": self.accuracy, "rounds": self.rounds, "megabytes_a_device": self.megabytes}


def cells(runs: Mapping[str, list[Run]]) -> dict[str, Cell]:
    """The cells of one data set and partition, by way, from the runs of all ``STUDIES``."""
    baselines = runs["FedAvg"]
    goals = [SHARE_OF_POOLED * run["pooled"]["balanced_accuracy"] for run in baselines]
    solved: list[Run] = [{**run, "rounds": run["rounds"][:1]} for run in runs[GOES_ON]]
    found = {
        LOCAL: Cell(tuple(run["local_only"]["balanced_accuracy"] for run in baselines)),
        POOLED: Cell(tuple(run["pooled"]["balanced_accuracy"] for run in baselines)),
    }
    for name, some in {**runs, ANALYTIC: solved}.items():
        reached = [_reached(run, goal) for run, goal in zip(some, goals, strict=True)]
        found[name] = Cell(
            tuple(run["rounds"][-1]["balanced_accuracy"] for run in some),
            tuple(rounds for rounds, _ in reached),
            tuple(megabytes for _, megabytes in reached),
        )
    return {way: found[way] for way in WAYS}


def _reached(run: Run, goal: float) -> tuple[int | None, float | None]:
    sent = 0.0
    for line in run["rounds"]:
        sent += line["bytes_up"] / line["participants"] / 1e6
        if line["balanced_accuracy"] >= goal:
            return line["round"], sent
    return None, None
