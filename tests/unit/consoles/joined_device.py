"""A device with ten pictures in a federation that is played by hand, and its owner's browser."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from fanlight.consoles import device as device_pages
from fanlight.services.device.app import create_app
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from tests.unit.consoles.federation import owner
from tests.unit.device.federation import NOW, FakeFederation, draw_pictures

URL = "http://localhost:8001"


def joined_device(federation: FakeFederation, folder: Path) -> tuple[TestClient, DeviceRole]:
    """Not enrolled yet; its clock stands still, and its loop does not run."""
    settings = DeviceSettings(
        token=issue_token_file(federation.folder, "porch", NOW + 1000),
        state=folder / "state",
        data=draw_pictures(folder / "data"),
        accept_demo=True,
        port=8001,
    )
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 0.0, sleep=lambda _s: None)
    app, role = create_app(settings, chances=chances, transport=federation.transport)
    device_pages.install(app, role)
    return owner(app, URL), role
