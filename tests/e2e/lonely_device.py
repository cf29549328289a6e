"""A device without pictures that finds neither of its servers, and serves its pages."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fanlight import apps
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.main_server.task import Task
from tests.e2e.test_pages import Served, served

ADDRESSES = {"main_url": "http://localhost:1", "aggregator_url": "http://localhost:2"}
"""Nobody is there."""


@contextmanager
def lonely_device(folder: Path) -> Iterator[Served]:
    """Below ``folder``, which may be a new one."""
    federation = folder / "federation"
    init_federation(federation, **ADDRESSES, task_json=Task.default(classes=("cat", "dog"), demo=True).to_json())
    (folder / "pictures").mkdir()
    token = issue_token_file(federation, "porch", 2_000_000_000)
    app = apps.device(DeviceSettings(state=folder / "device", token=token, data=folder / "pictures", port=8001))
    with socket.create_server(("127.0.0.1", 0)) as listener, served("device", app, listener) as server:
        yield server
