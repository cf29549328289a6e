"""Several runs beside each other, and beside the live fleet: curves and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fanlight.services.main_server.studies.folder import StudyFolder
from fanlight.simulation import comparison
from fanlight.simulation.comparison import Compared
from fanlight.simulation.plots import Curve, chart
from fanlight.simulation.result import Result

MOST_COMPARED: Final = 8
"""As many as there are colours that are told apart."""
FLEET: Final = "live fleet"
_APART: Final = ("dataset", "partition", "algorithm", "head", "world", "attack", "devices", "cohort", "seed")
"""Fields that tell studies apart best, before all others."""


@dataclass(frozen=True)
class Side:
    """Runs side by side.

    Attributes:
        runs: those that have a round behind them, each with its ``name`` here, ``number`` and figures; see
            ``comparison.as_json``.
        goal: the accuracy that rounds and bytes are counted up to.
        charts: as HTML.
    """

    runs: Sequence[Mapping[str, Any]]
    goal: float | None
    charts: Sequence[str]


def side_by_side(runs: Sequence[StudyFolder], fleet: Sequence[Mapping[str, Any]] = ()) -> Side:
    """Compare runs; one that has no round yet is left out.

    Args:
        runs: each once.
        fleet: what the live one was worth, see ``fleet.measured``; empty = it is not beside them.
    """
    begun = [(run, run.study, lines) for run in runs if (lines := run.lines)]
    names = names_of({run.number: study for run, study, _ in begun})
    compared = [Compared(names[run.number], (_so_far(study, run.result, lines),)) for run, study, lines in begun]
    found = comparison.as_json(compared) if compared else {"studies": [], "goal": None}
    told = [
        entry | {"number": run.number, "last": run_lines[-1], "bytes_up": sum(line.bytes_up for line in run_lines)}
        for entry, (run, _study, run_lines) in zip(found["studies"], begun, strict=True)
    ]
    return Side(told, found["goal"], _charts(compared, fleet))


def curves_of(run: StudyFolder) -> list[str]:
    """The charts of one run as HTML; none before its first round."""
    lines = run.lines
    x = [line.round for line in lines]
    measures = [
        Curve("accuracy", x, [line.accuracy for line in lines]),
        Curve("balanced accuracy", x, [line.balanced_accuracy for line in lines]),
    ]
    loss = Curve("loss", x, [line.loss for line in lines])
    return [chart("Accuracy on held-out pictures", "round", measures), chart("Loss, nats", "round", [loss])]


def names_of(studies: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """What each is called beside the others: its number, and in what it differs from them."""
    fields = [*_APART, *sorted({name for study in studies.values() for name in study} - {*_APART, "training"})]
    flat = {number: {name: study.get(name) for name in fields} for number, study in studies.items()}
    for number, study in studies.items():
        flat[number] |= {f"training.{name}": value for name, value in study["training"].items()}
    apart = [name for name in next(iter(flat.values()), {}) if len({str(each.get(name)) for each in flat.values()}) > 1]
    return {
        number: f"{number}: " + (", ".join(_told(name, each[name]) for name in apart[:3]) or str(each["algorithm"]))
        for number, each in flat.items()
    }


def _told(name: str, value: object) -> str:
    if name in ("dataset", "partition", "algorithm"):
        return str(value)
    return f"{name} {value}" if value not in ("", 0) else f"no {name}"


def _charts(compared: Sequence[Compared], fleet: Sequence[Mapping[str, Any]]) -> list[str]:
    rounds = [each.curve("accuracy") for each in compared]
    if fleet:
        rounds.append(Curve(FLEET, [each["round"] for each in fleet], [each["accuracy"] for each in fleet]))
    sent = [each.curve("accuracy", "bytes_up") for each in compared]
    loss = [each.curve("loss") for each in compared]
    return [
        chart("Accuracy on held-out pictures", "round", rounds),
        chart("Accuracy by what devices have sent", "megabytes", sent),
        chart("Loss, nats", "round", loss),
    ]


def _so_far(study: Mapping[str, Any], result: Mapping[str, Any] | None, lines: Sequence[Any]) -> Result:
    """As much of a result as a comparison looks at."""
    return Result(
        study=study,
        engine="",
        workers=0,
        rounds=tuple(lines),
        parameters=np.zeros(0, np.float32),
        model_sha256="",
        data={},
        per_class=[],
        pooled=None if result is None else result["pooled"],
    )
