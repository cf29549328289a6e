"""Writes finished studies into a main server's folder, as their processes leave them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from fanlight.services.main_server.studies.folder import StudyFolder
from fanlight.services.main_server.studies.permitted import permitted
from fanlight.simulation.result import Line

STUDIES: Final = 20
ROUNDS: Final = 200


def fill_studies(folder: Path) -> None:
    """Put ``STUDIES`` of them in, numbered from 1."""
    for number in range(1, STUDIES + 1):
        study = permitted({"rounds": ROUNDS, "seed": number})
        run = StudyFolder.make(number, folder / str(number), study, float(number))
        lines = [json.dumps(asdict(_line(number, each))) + "\n" for each in range(1, ROUNDS + 1)]
        (run.path / "rounds.jsonl").write_text("".join(lines), "utf-8")
        run.turn("finished", started_at=float(number), ended_at=number + 60.0)


def _line(seed: int, number: int) -> Line:
    accuracy = 0.9 - 0.5 / (number + seed)
    phases = {"devices": 0.2, "server": 0.01, "measuring": 0.02}
    return Line(number, 100, accuracy, accuracy - 0.01, 1 - accuracy, 0.25, 5_000_000, 5_000_000, phases)
