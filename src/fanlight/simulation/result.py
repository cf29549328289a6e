"""What a simulation found."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fanlight
from fanlight.core.metrics import Metrics
from fanlight.learning.evaluation import Counts


@dataclass(frozen=True)
class Line:
    """One round.

    Attributes:
        round: its number.
        participants: devices in the sum.
        accuracy, balanced_accuracy, loss: of the model after it, on held-out examples; fractions, and nats an example.
        seconds: it took.
        bytes_up, bytes_down: of all reports and models that would have travelled.
        phases: seconds by phase.
        device_seconds: of work of all devices.
        clip: bound on the norm of its updates; 0 where it had none.
        within_clip: devices whose update was within it.
        simulated_seconds: at which it ended on the simulated clock, if the study has a world.
        world: what became of the devices that it asked, likewise (see ``worlds.course``).
        staleness: mean and max of its updates', in versions, if the server waits for nobody (see ``buffered``).
        backdoor_success: share of marked test examples of other classes that are taken for a backdoor's target.
        live: of a round of live servers, the version that came of it and what became of the simulated devices' reports.
    """

    round: int
    participants: int
    accuracy: float
    balanced_accuracy: float
    loss: float
    seconds: float
    bytes_up: int
    bytes_down: int
    phases: Mapping[str, float] = field(default_factory=dict)
    device_seconds: float = 0.0
    clip: float = 0.0
    within_clip: int = 0
    simulated_seconds: float | None = None
    world: Mapping[str, Any] | None = None
    staleness: Mapping[str, float] | None = None
    backdoor_success: float | None = None
    live: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Result:
    """A whole run.

    Attributes:
        study: as JSON.
        engine, workers: what it ran on; neither changes anything but ``seconds``.
        rounds: one line a round.
        parameters: (d,) float32 of the last model.
        model_sha256: of those, as bytes; equal for equal studies.
        pooled, local_only: figures of baselines, if they were asked for.
        homes: mean accuracies of homes on their own classes (see ``homes``), likewise: of the models of their ``own``,
            None if the algorithm gives them none, of the ``global`` one, and of those that are trained ``alone``.
        per_class: figures of the last model by class.
        data: classes, numbers of examples, who has what.
        live: which servers these were, if they were live ones.
    """

    study: Mapping[str, Any]
    engine: str
    workers: int
    rounds: tuple[Line, ...]
    parameters: NDArray[np.float32]
    model_sha256: str
    data: Mapping[str, Any]
    per_class: list[dict[str, Any]]
    pooled: Mapping[str, Any] | None = None
    local_only: Mapping[str, Any] | None = None
    homes: Mapping[str, float | None] | None = None
    live: Mapping[str, Any] | None = None

    @property
    def last(self) -> Line:
        """The last round."""
        return self.rounds[-1]

    def as_json(self) -> dict[str, Any]:
        """``result.json``."""
        return {
            "format": 1,
            "study": dict(self.study),
            "seed": self.study["seed"],
            "engine": self.engine,
            "workers": self.workers,
            "versions": versions(has_module=bool(self.study.get("module")), engine=self.engine),
            "data": dict(self.data),
            "rounds": [asdict(line) for line in self.rounds],
            "model_sha256": self.model_sha256,
            "parameters": int(self.parameters.size),
            "per_class": self.per_class,
            "pooled": None if self.pooled is None else dict(self.pooled),
            "local_only": None if self.local_only is None else dict(self.local_only),
            "homes": None if self.homes is None else dict(self.homes),
            "live": None if self.live is None else dict(self.live),
        }

    def dumps(self) -> str:
        """The same as one line of text."""
        return json.dumps(self.as_json(), separators=(",", ":"))


def versions(*, has_module: bool, engine: str) -> dict[str, str]:
    """Of what results could depend on: numbers, features of pictures, modules of one's own."""
    names = ["numpy", "onnxruntime", "pillow", *["torch"] * has_module, *["ray"] * (engine == "ray")]
    found = {"fanlight": fanlight.__version__, "python": platform.python_version()}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def figures(counts: Counts) -> dict[str, float]:
    """accuracy, balanced_accuracy and loss of counts of one picture or more."""
    found = Metrics.from_confusion(counts.confusion, counts.loss_sum)
    return {
        "accuracy": found.accuracy or 0.0,
        "balanced_accuracy": found.balanced_accuracy or 0.0,
        "loss": found.loss or 0.0,
    }
