"""What a library needs of its device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fanlight.learning.backbones import CompiledBackbone
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.library.own_names import OwnNames
from fanlight.services.device.sides import Sides
from fanlight.services.http.jobs import Jobs
from fanlight.storage.database import Database


@dataclass(frozen=True)
class Surroundings:
    """What a library needs of its device.

    Attributes:
        folder, client, state: data folder, which client's in it, state folder.
        database, jobs, clock: of the device.
        sides: which parts its pictures have.
        threads: that compute features.
        classes: the task's, in order; empty as long as there is no model.
        model: that suggests labels, the home's or the current global one, and a digest of what it is; raises
            ``NotPossibleNow`` without one.
        backbone: that a model was trained on, ready to run.
        propose: sends the name of a new class to the operator.
        on_change: called whenever pictures have come, gone, or mean something else.
        own: names that only this home knows.
    """

    folder: Path
    client: str | None
    state: Path
    database: Database
    jobs: Jobs
    clock: Callable[[], float]
    sides: Sides
    threads: int
    classes: Callable[[], Sequence[str]]
    model: Callable[[], tuple[HeadModel, bytes]]
    backbone: Callable[[HeadModel], CompiledBackbone]
    propose: Callable[[str], None]
    on_change: Callable[[], object]
    own: OwnNames
