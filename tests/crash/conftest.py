"""What all of these tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.learning.datasets import prepare


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return tuple(prepare("shapes", 2, 0, tmp_path_factory.mktemp("shapes")).device_folders)
