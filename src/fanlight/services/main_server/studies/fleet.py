"""The live fleet beside studies: a study that is like it, and what its models were worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fanlight.services.main_server import lines, measurements, members
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.studies.permitted import MOST_DEVICES, training_of

LEAST: Final = 4
"""Members from which on a study begins with as many devices: two shards of two."""
FEWEST: Final = 20
"""Devices of a study where the fleet has fewer."""
_MOST_VERSIONS: Final = 1_000
_OTHER_DATA: Final = "digits"


def like_the_fleet(service: MainService) -> dict[str, Any]:
    """The fields of a study with the task's algorithm, head and training, and as many devices as are members.

    The data set is the task's own if its classes are those of one, otherwise digits: no server has devices' pictures.
    """
    from fanlight.learning.datasets.prepare import SOURCES

    task, policy, chosen = service.task, service.task.policy, service.task.algorithm
    with service.database.reading() as tx:
        there = members.count_confirmed(tx)
    devices = min(there, MOST_DEVICES) if there >= LEAST else FEWEST
    cohort = policy.cohort_size if policy.cohort_size < devices else 0
    options = [f"{name}={value:g}" for name, value in chosen.parameters.items()]
    options += [f"combine={chosen.combine}"] * (chosen.combine != "mean")
    dataset = next((name for name, each in SOURCES.items() if set(each.classes) == set(task.classes)), _OTHER_DATA)
    rounding = {"update_bits": policy.update_bits, "n_max": policy.n_max} if policy.update_bits else {}
    fields = rounding | {
        "dataset": dataset,
        "partition": "dirichlet:0.5",
        "devices": devices,
        "cohort": cohort,
        "rounds": FEWEST,
        "algorithm": ":".join(filter(None, (chosen.name, ",".join(options)))),
        "head": task.head,
        "seed": 0,
        "training": training_of(task.training.model_dump()),
    }
    return fitted(policy, fields)


def fitted(policy: Policy, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A study with the shards that its algorithm needs and a class's supporters, as far as it has devices for them."""
    there = fields["cohort"] or fields["devices"]
    shards = min(policy.most_shards, there // 2) if "combine=" in str(fields["algorithm"]) else 0
    return dict(fields) | {"supporters": min(policy.supporters, there), "shards": shards}


def measured(service: MainService) -> list[dict[str, Any]]:
    """Accuracy of the fleet's versions on its held-out pictures, as far as it may be shown, oldest first.

    Each has ``round``: how many rounds of training the version has behind it, as many as its number.
    """
    with service.database.reading() as tx:
        found = measurements.by_version(tx, _MOST_VERSIONS)
    shown = [(version, lines.received(service.task, measurement)) for version, measurement in reversed(found)]
    return [
        {name: figures.get(name) for name in ("accuracy", "balanced_accuracy", "loss")} | {"round": version}
        for version, figures in shown
        if figures.get("accuracy") is not None
    ]
