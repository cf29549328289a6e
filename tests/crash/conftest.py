"""What all of these tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.learning.datasets import shapes
from tests.services_world import draw


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """A folder for each of two devices, with few pictures: what is done for each is the same for the hundredth."""
    folders = tuple(tmp_path_factory.mktemp(f"device-{number}") for number in (1, 2))
    for number, folder in enumerate(folders):
        draw(folder, number, {"train": 2, "valid": 1, "test": 1}, shapes.CLASSES)
    return folders
