"""What all of these tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.learning.datasets import shapes
from tests.crash import summary
from tests.services_world import draw

_MOST_DEVICES = 4


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """A folder for each of four devices, with few pictures: what is done for each is the same for the hundredth."""
    folders = tuple(tmp_path_factory.mktemp(f"device-{number + 1}") for number in range(_MOST_DEVICES))
    for number, folder in enumerate(folders, 1):
        draw(folder, number, {"train": 2, "valid": 1, "test": 1}, shapes.CLASSES)
    return folders


@pytest.fixture(scope="session")
def pictures(homes: tuple[Path, ...]) -> tuple[Path, ...]:
    """The folders of two devices."""
    return homes[:2]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the crash points that were tried, and name those that were never reached."""
    summary.write(terminalreporter)
