"""A federation and a device with ten small pictures, for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.services.device import small_files
from fanlight.services.device.role import DeviceRole
from tests.made_once import made_once
from tests.unit.device.federation import FakeFederation, draw_pictures

__all__ = ["made_once"]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("drawn") / "pictures")


@pytest.fixture
def federation(tmp_path: Path) -> FakeFederation:
    return FakeFederation(tmp_path / "federation")


@pytest.fixture
def device(federation: FakeFederation, tmp_path: Path, drawn: Path) -> Iterator[DeviceRole]:
    role = federation.device(tmp_path / "device-1", drawn)
    yield role
    role.stop()


@pytest.fixture(params=["rows", "files"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where y and local models lie, as they would by their size: those of tests are small."""
    if request.param == "files":
        monkeypatch.setattr(small_files, "MOST_BYTES", 0)
    where: str = request.param
    return where
