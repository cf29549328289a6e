"""A library without a device: a folder with ten small pictures, and a task with two classes."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fanlight.errors import NotPossibleNow
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.library import Library, Surroundings
from fanlight.services.device.library.own_names import OwnNames
from fanlight.services.device.sides import Sides
from fanlight.services.http.jobs import Jobs
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate
from tests.unit.device.federation import NOW


@dataclass
class Desk:
    """A library and what stands around it."""

    folder: Path
    state: Path
    classes: tuple[str, ...] = ("bright", "dark")
    proposed: list[str] = field(default_factory=list)
    now: float = NOW

    def __post_init__(self) -> None:
        self.jobs = Jobs()
        self.open()

    def open(self) -> None:
        """As after a start."""
        self.database = Database(self.state / "state.sqlite3")
        migrate(self.database, "device")
        self.library = Library(
            Surroundings(
                folder=self.folder,
                client=None,
                state=self.state,
                database=self.database,
                jobs=self.jobs,
                clock=lambda: self.now,
                sides=Sides(self.database),
                threads=1,
                classes=lambda: self.classes,
                model=self.model,
                backbone=lambda model: compile_backbone(model.backbone_id, self.state / "backbones"),
                propose=self.proposed.append,
                on_change=lambda: None,
                own=OwnNames(self.database),
            )
        )

    def restart(self) -> None:
        self.database.close()
        self.open()

    def model(self) -> tuple[HeadModel, bytes]:
        raise NotPossibleNow("There is no model yet.")

    def files(self) -> set[str]:
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def desk(tmp_path: Path, drawn: Path) -> Iterator[Desk]:
    folder = tmp_path / "data"
    shutil.copytree(drawn, folder)
    made = Desk(folder, tmp_path / "state")
    yield made
    made.jobs.close()
    made.database.close()


def png(seed: int = 0, side: int | tuple[int, int] = 80, *, smooth: bool = False) -> bytes:
    """A picture of noise, or of a soft slope."""
    width, height = (side, side) if isinstance(side, int) else side
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 255, (height, width, 3)).astype(np.uint8)
    if smooth:
        pixels = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (height, width, 3)).copy()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
