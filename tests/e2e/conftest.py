"""What tests in a browser share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from fanlight.services.device.role import DeviceRole
from tests.e2e.browser import FLAGS, chromium
from tests.e2e.test_pages import Served
from tests.e2e.trained_device import trained_device
from tests.requirements import require


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, one for all tests of a process, each with a session of its own; skips where there is none.

    From then on asyncio takes this thread for one whose loop runs: what runs a loop needs another thread.
    """
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def whole_browser(browser: Browser) -> Iterator[Browser]:
    """Chromium with all that people have of it, for whole journeys, also in the usual run."""
    whole = browser.browser_type.launch(executable_path=require("chromium"), args=FLAGS)
    try:
        yield whole
    finally:
        whole.close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[tuple[Served, DeviceRole]]:
    """A device that has trained, with its pages."""
    with trained_device(tmp_path) as made:
        yield made
