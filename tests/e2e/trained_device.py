"""A device that has trained on drawn shapes and serves its pages; for tests of what its owner does with pictures."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from fanlight.consoles import device as device_pages
from fanlight.learning import model_file
from fanlight.learning.datasets import shapes
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.heads import zero_head
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.app import create_app
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from tests.e2e.browser import visit
from tests.e2e.test_pages import Served, served
from tests.unit.device.federation import NOW, PLAN, FakeFederation
from tests.unit.device.joined import done

SIZE = 64
HOSTILE = "<img src=x onerror=alert(1)>"


@contextmanager
def trained_device(folder: Path, version: int = 0) -> Iterator[tuple[Served, DeviceRole]]:
    """A device that has trained on 40 drawn shapes, and serves its pages; its model is of this version."""
    head = zero_head(PLAN.features, len(shapes.CLASSES))
    model = HeadModel(
        "default", version, shapes.CLASSES, PLAN.backbone, PLAN.backbone_hash.hex(), SIZE, head.weight, head.bias
    )
    plan = PLAN.with_(classes=shapes.CLASSES, picture_size=SIZE, epochs=10)
    federation = FakeFederation(
        folder / "federation", plan=plan, model=model_file.encode(model), version=version, pause_s=60
    )
    for name in shapes.CLASSES:
        draw(folder / "data" / name, name, 10)
    token = issue_token_file(federation.folder, "porch", NOW + 1000)
    settings = DeviceSettings(
        token=token, state=folder / "state", data=folder / "data", accept_demo=True, port=8001, name=HOSTILE
    )
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 1.0, sleep=lambda _s: None)  # it asks, and then pauses
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app, role = create_app(settings, chances=chances, transport=federation.transport)
        device_pages.install(app, role)
        with served("device", app, listener) as made:
            while role.store.held is None:  # the test's time limit ends a wait in vain
                role.stopping.wait(0.02)
            done(role, role.steps.train())
            role.library.refresh()
            yield made, role


def draw(folder: Path, name: str, each: int, prefix: str = "") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    chance = Chance(f"page-{prefix}-{name}", 1)
    paths = [folder / f"{prefix}{name}-{number}.png" for number in range(each)]
    for path in paths:
        Image.fromarray(shapes.draw(name, chance)).save(path)
    return paths


def opened(context: BrowserContext, address: str) -> tuple[Page, list[str]]:
    page, wrong = visit(context)
    page.goto(address)
    return page, wrong


def shows(page: Page, text: str) -> None:
    """The page with this text is there, and its scripts have run: keys mean something."""
    expect(page.get_by_text(text).first).to_be_visible()
    page.wait_for_load_state()


def labels(role: DeviceRole) -> dict[str, int]:
    return dict(role.library.counts().labels)
