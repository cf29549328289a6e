"""The gallery in a real browser: put pictures in, choose and label them by keyboard, take back; with and without JS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from fanlight.consoles import device as device_pages
from fanlight.learning import model_file
from fanlight.learning.datasets import shapes
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.heads import zero_head
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.app import create_app
from fanlight.services.device.library.records import State
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from tests.e2e.browser import DESK, PHONE, chromium, too_wide, violations, visit
from tests.e2e.test_pages import WINDOWS, Served, logged_in, served, shoot
from tests.unit.device.federation import NOW, PLAN, FakeFederation
from tests.unit.device.joined import done

SIZE = 64
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def device(tmp_path: Path) -> Iterator[tuple[Served, DeviceRole]]:
    """A device that has trained on 40 drawn shapes, and serves its pages."""
    head = zero_head(PLAN.features, len(shapes.CLASSES))
    model = HeadModel(
        "default", 0, shapes.CLASSES, PLAN.backbone, PLAN.backbone_hash.hex(), SIZE, head.weight, head.bias
    )
    plan = PLAN.with_(classes=shapes.CLASSES, picture_size=SIZE, epochs=10)
    federation = FakeFederation(tmp_path / "federation", plan=plan, model=model_file.encode(model))
    for name in shapes.CLASSES:
        draw(tmp_path / "data" / name, name, 10)
    token = issue_token_file(federation.folder, "porch", NOW + 1000)
    settings = DeviceSettings(
        token=token, state=tmp_path / "state", data=tmp_path / "data", accept_demo=True, port=8001, name=HOSTILE
    )
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 0.0, sleep=lambda _s: None)
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


def labels(role: DeviceRole) -> dict[str, int]:
    return dict(role.library.counts().labels)


def test_pictures_are_put_in_labelled_by_keyboard_and_taken_back(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    new = draw(tmp_path / "new", "star", 3, "new-")
    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#files", new)
        page.get_by_role("button", name="Put in").click()
        expect(page.get_by_text("3 pictures put in.")).to_be_visible()
        boxes = page.locator("[data-gallery] input[type=checkbox]")
        expect(boxes).to_have_count(3)
        boxes.first.focus()
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
        expect(page.get_by_text("2 chosen")).to_be_visible()
        page.keyboard.press("4")
        expect(page.get_by_text("2 pictures labelled.")).to_be_visible()
        assert labels(role)["star"] == 12
        page.keyboard.press("u")
        expect(page.get_by_text("2 pictures put back.")).to_be_visible()
        assert labels(role)["star"] == 10
        boxes.first.focus()
        page.keyboard.press("x")
        expect(page.get_by_text("1 picture marked as not usable.")).to_be_visible()
        assert role.library.counts().states[State.NOT_USABLE] == 1
        assert not wrong


def test_all_of_it_works_without_scripts(browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path) -> None:
    server, role = device
    new = draw(tmp_path / "new", "circle", 2, "new-")
    with logged_in(browser, server, PHONE, scripts=False) as context:
        page, _wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#files", new)
        page.get_by_role("button", name="Put in").click()
        for box in page.locator("[data-gallery] input[type=checkbox]").all():
            box.check()
        page.get_by_role("group", name="With the chosen pictures").get_by_role("button", name="circle").click()
        expect(page.get_by_text("2 pictures labelled.")).to_be_visible()
        assert labels(role)["circle"] == 12
        page.get_by_role("button", name="Undo").click()
        assert labels(role)["circle"] == 10
        page.goto(f"{server.url}/learning")
        page.set_input_files("#try-picture", new[0])
        page.get_by_role("button", name="What is it?").click()
        expect(page.get_by_text("This device's own model")).to_be_visible()


def test_a_dropped_picture_is_tried_at_once(browser: Browser, device: tuple[Served, DeviceRole]) -> None:
    server, _role = device
    with logged_in(browser, server) as context:
        page, wrong = opened(context, f"{server.url}/learning")
        page.evaluate(
            """async () => {
              const canvas = Object.assign(document.createElement("canvas"), { width: 80, height: 60 });
              const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
              const bag = new DataTransfer();
              bag.items.add(new File([blob], "<b>dropped.png", { type: "image/png" }));
              const event = new DragEvent("drop", { dataTransfer: bag, bubbles: true, cancelable: true });
              document.querySelector("[data-drop]").dispatchEvent(event);
            }"""
        )
        expect(page.get_by_role("heading", name="What the model sees in <b>dropped.png")).to_be_visible()
        assert not wrong


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", WINDOWS)
def test_pages_fit_the_screen(browser: Browser, device: tuple[Served, DeviceRole], window: str, dark: bool) -> None:
    server, role = device
    draw(role.settings.data / "_unlabelled", "square", 3, "W" * 120)
    done(role, role.library.suggest())
    with logged_in(browser, server, WINDOWS[window], dark=dark) as context:
        page, wrong = visit(context)
        for path in (
            "/pictures",
            "/pictures?state=suggested",
            "/pictures?state=deleted",
            "/pictures?problem=duplicates",
            "/learning",
            "/learning/pictures?model=own&shows=0&named=0",
        ):
            page.goto(server.url + path)
            assert too_wide(page) <= 0, path
            assert violations(page) == [], path
            name = path.strip("/").translate(str.maketrans("/?=&", "----"))
            shoot(page, f"device-{name}-{window}-{'dark' if dark else 'light'}")
        assert not wrong
