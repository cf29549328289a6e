"""A result's folder: what is in it, and what it is called."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from safetensors.numpy import save

from fanlight.core.tensors import TensorLayout
from fanlight.errors import from_os_error
from fanlight.learning.atomic_file import write_atomically
from fanlight.simulation.checkpoint import rounds_done
from fanlight.simulation.report import page
from fanlight.simulation.result import Result
from fanlight.simulation.study import Study

RESULT: Final = "result.json"
REPORT: Final = "report.html"
MODEL: Final = "model.safetensors"


def folder_of(study: Study, state: Path) -> Path:
    """Where the run of a study lies if no other place is named: the same study finds it again, with more rounds too.

    A run cannot go back: with fewer rounds than were done there the study has a folder of its own.
    """
    fields = {name: value for name, value in study.as_json().items() if name not in ("rounds", "baselines")}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    name = "".join(letter if letter.isalnum() else "-" for letter in Path(study.dataset).name)
    place = state / "simulations" / f"{name}-{digest[:12]}"
    return place if rounds_done(place) <= study.rounds else place.with_name(f"{place.name}-{study.rounds}")


def write(result: Result, layout: TensorLayout, folder: Path) -> None:
    """``result.json``, ``report.html`` and the model.

    Raises:
        StorageError: the disk refuses.
    """
    files = {
        RESULT: (json.dumps(result.as_json(), indent=1) + "\n").encode(),
        REPORT: page(result).encode(),
        MODEL: save(layout.unflatten(result.parameters)),
    }
    try:
        for name, content in files.items():
            write_atomically(folder / name, content, durable=False)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
