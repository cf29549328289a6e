"""Several studies side by side, each with several seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from fanlight.core.percent import percent
from fanlight.errors import UsageError, from_os_error
from fanlight.learning.atomic_file import write_atomically
from fanlight.simulation.plots import Curve, chart
from fanlight.simulation.report import table, whole
from fanlight.simulation.result import Result
from fanlight.simulation.world_report import unit_of

COMPARISON = "comparison.json"
SHARE_OF_BEST = 0.95


@dataclass(frozen=True)
class Compared:
    """One study's runs, one of each seed."""

    name: str
    runs: tuple[Result, ...]

    def curve(self, figure: str, x: str = "round") -> Curve:
        """Mean over the seeds, and the band from the least to the greatest; up to the shortest run."""
        rounds = min(len(run.rounds) for run in self.runs)
        rows = np.array([[getattr(line, figure) for line in run.rounds[:rounds]] for run in self.runs])
        across = np.array([[getattr(line, x) for line in run.rounds[:rounds]] for run in self.runs], float)
        if x.startswith("bytes"):
            across = across.cumsum(axis=1) / 1e6
        means = rows.mean(axis=0).tolist()
        band = (rows.min(axis=0).tolist(), rows.max(axis=0).tolist()) if len(self.runs) > 1 else ((), ())
        return Curve(self.name, across.mean(axis=0).tolist(), means, *band)

    def as_json(self, goal: float) -> dict[str, Any]:
        """Figures of the last round, and what it took to reach ``goal``."""
        last = [run.last.balanced_accuracy for run in self.runs]
        reached = [_reached(run, goal) for run in self.runs]
        return {
            "name": self.name,
            "study": dict(self.runs[0].study),
            "seeds": [run.study["seed"] for run in self.runs],
            "balanced_accuracy": _spread(last),
            "accuracy": _spread([run.last.accuracy for run in self.runs]),
            "loss": _spread([run.last.loss for run in self.runs]),
            "rounds_to_goal": [rounds for rounds, _ in reached],
            "bytes_up_to_goal": [sent for _, sent in reached],
            "rounds": [[_figures(line.__dict__) for line in run.rounds] for run in self.runs],
        }


def compare(names: Sequence[str], run: Callable[[str, int], Result], seeds: Sequence[int]) -> list[Compared]:
    """Run each study with each seed; ``run`` is given its name and the seed."""
    if len(set(names)) != len(names):
        raise UsageError("Two studies have the same name.", next="Rename one of the files.")
    return [Compared(name, tuple(run(name, seed) for seed in seeds)) for name in names]


def as_json(compared: Sequence[Compared]) -> dict[str, Any]:
    """``comparison.json``: the goal is 95 % of the best pooled baseline, or else of the best of all."""
    goal = SHARE_OF_BEST * max(_best(run) for each in compared for run in each.runs)
    return {"format": 1, "goal": goal, "studies": [each.as_json(goal) for each in compared]}


def write(compared: Sequence[Compared], folder: Path) -> dict[str, Any]:
    """Both files; returns what is in the first.

    Raises:
        StorageError: the disk refuses.
    """
    found = as_json(compared)
    try:
        write_atomically(folder / COMPARISON, (json.dumps(found, indent=1) + "\n").encode(), durable=False)
        write_atomically(folder / "report.html", page(compared, found).encode(), durable=False)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return found


def page(compared: Sequence[Compared], found: Mapping[str, Any]) -> str:
    """The page that shows them."""
    seeds = len(compared[0].runs)
    goal = [("goal", float(found["goal"]))]
    words = f"{len(compared)} studies, {seeds} seed{'s' * (seeds != 1)} each; bands reach from the worst to the best."
    body = [
        f"<p>{words} The goal is {escape(percent(found['goal']))}.</p>",
        chart(
            "Balanced accuracy on held-out examples", "round", [c.curve("balanced_accuracy") for c in compared], goal
        ),
        chart(
            "Balanced accuracy by what devices have sent",
            "megabytes",
            [c.curve("balanced_accuracy", "bytes_up") for c in compared],
            goal,
        ),
        _by_clock(compared, goal),
        chart("Loss, nats", "round", [c.curve("loss") for c in compared]),
        table(
            ("study", "balanced accuracy", "worst", "best", "rounds to the goal", "MB sent to the goal"),
            [
                (
                    each["name"],
                    percent(each["balanced_accuracy"]["mean"]),
                    percent(each["balanced_accuracy"]["least"]),
                    percent(each["balanced_accuracy"]["most"]),
                    _mean_of(each["rounds_to_goal"], 1),
                    _mean_of(each["bytes_up_to_goal"], 1e6),
                )
                for each in found["studies"]
            ],
        ),
    ]
    return whole("Comparison of simulations", body)


def _by_clock(compared: Sequence[Compared], goal: Sequence[tuple[str, float]]) -> str:
    """Empty where a study has no world, and so no clock."""
    if any(line.simulated_seconds is None for each in compared for run in each.runs for line in run.rounds):
        return ""
    curves = [each.curve("balanced_accuracy", "simulated_seconds") for each in compared]
    unit, unit_s = unit_of(max(curve.x[-1] for curve in curves))
    curves = [replace(curve, x=[seconds / unit_s for seconds in curve.x]) for curve in curves]
    return chart("Balanced accuracy by simulated time", unit, curves, goal)


def _best(run: Result) -> float:
    if run.pooled is not None:
        return float(run.pooled["balanced_accuracy"])
    return max(line.balanced_accuracy for line in run.rounds)


def _reached(run: Result, goal: float) -> tuple[int | None, int | None]:
    sent = 0
    for line in run.rounds:
        sent += line.bytes_up
        if line.balanced_accuracy >= goal:
            return line.round, sent
    return None, None


def _figures(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ("round", "balanced_accuracy", "accuracy", "loss", "bytes_up")}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "least": float(min(values)), "most": float(max(values))}


def _mean_of(values: Sequence[float | None], unit: float) -> str:
    there = [value for value in values if value is not None]
    return f"{float(np.mean(there)) / unit:.1f}" if len(there) == len(values) else "not reached"
