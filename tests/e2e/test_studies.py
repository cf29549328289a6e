"""Studies at a real main server: started, watched and compared in a browser; killed with their server, and gone on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from fanlight.cli.owner_client import OwnerClient
from fanlight.storage.secret_files import read_secret
from tests.e2e.browser import DESK, PHONE, too_wide, violations, visit
from tests.e2e.terminals import free_ports
from tests.study_runs import LIMIT_S, LONG, SMALL, until
from tests.unit.consoles.federation import make_folder

API = "/api/v1/studies"
STYLE = "() => getComputedStyle(document.body).maxWidth"
MARK = (
    "<p id=mark style='position: fixed'>mark</p>"
    "<script>document.body.id = 'ran'</script><style>p { color: red }</style>"
)
"""What a report must not be able to do, whoever has written into it."""


@dataclass
class Main:
    """A main server as a process, that can be killed and started again."""

    state: Path
    port: int
    popen: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def client(self) -> OwnerClient:
        return OwnerClient.here("main", self.port, self.state)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "fanlight", "server", "--state", str(self.state), "--port", str(self.port)]
        self.popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.client.is_healthy, "the main server answers")

    def end(self, number: signal.Signals) -> None:
        assert self.popen is not None
        self.popen.send_signal(number)
        self.popen.wait(LIMIT_S)

    def one(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"{API}/{number}")
        return found

    def start_study(self, asked: dict[str, Any]) -> int:
        headers = {"Authorization": f"Bearer {read_secret(self.client.token_file).decode().strip()}"}
        answer = httpx.post(self.url + API, json=asked, headers=headers, trust_env=False, timeout=LIMIT_S)
        number: int = answer.raise_for_status().json()["number"]
        return number

    def has_begun(self, number: int, rounds: int = 2) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            one = self.one(number)
            assert one["state"] in ("queued", "running"), one["error"]
            return one if one["rounds_done"] >= rounds else None

        return until(found, f"study {number} has {rounds} rounds")


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Main]:
    (port,) = free_ports(1)
    made = Main(make_folder(tmp_path_factory.mktemp("studies") / "federation") / "main", port)
    made.start()
    yield made
    made.end(signal.SIGTERM)


@contextmanager
def browsing(browser: Browser, main: Main, *, scripts: bool = True) -> Iterator[tuple[Page, list[str]]]:
    with browser.new_context(viewport=PHONE, reduced_motion="reduce", java_script_enabled=scripts) as context:
        page, wrong = visit(context)
        page.goto(main.client.post("/api/v1/login-links")["url"])
        page.goto(f"{main.url}/studies")
        yield page, wrong


def typed(page: Page, rounds: int) -> None:
    page.get_by_label("Pictures", exact=True).select_option("shapes")
    page.get_by_label("Who has what").select_option("iid")
    page.get_by_label("The devices", exact=True).select_option(label="a third sleep at night")
    page.get_by_label("Devices", exact=True).fill("6")
    page.get_by_label("Rounds", exact=True).fill(str(rounds))
    page.get_by_text("More, as TOML").click()
    page.get_by_label("Lines of a study's file").fill("picture_size = 32")


@pytest.mark.timeout(3 * LIMIT_S)
def test_a_study_is_started_watched_and_compared_in_a_browser(browser: Browser, main: Main) -> None:
    with browsing(browser, main) as (page, wrong):
        typed(page, 5)
        page.get_by_label("Rounds", exact=True).fill("1001")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert").filter(has_text="Nothing was started.")).to_be_visible()
        expect(page.get_by_label("Rounds", exact=True)).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label("Lines of a study's file")).to_have_value("picture_size = 32")
        wrong.clear()  # the browser names the status
        page.get_by_label("Rounds", exact=True).fill("8")
        page.get_by_role("button", name="Start").click()
        page.wait_for_url(f"{main.url}/studies/*")
        page.evaluate("window.same = true")
        number = int(page.url.rpartition("/")[2])
        expect(page.get_by_text("8 of 8", exact=True)).to_be_visible(timeout=1000 * LIMIT_S)
        expect(page.locator("main").get_by_text("finished", exact=True)).to_be_visible()
        expect(page.locator(".plots svg[role=img]")).to_have_count(2)
        assert page.evaluate("window.same"), "the page was kept fresh, not loaded anew"
        looked_at(page)
        page.goto(f"{main.url}/studies")
        other = main.start_study(SMALL)
        until(lambda: main.one(other)["state"] == "finished", "there are two to compare")
        page.get_by_label(f"Compare study {number}").check()
        page.get_by_label(f"Compare study {other}").check()
        page.get_by_role("button", name="Compare the chosen").click()
        expect(page.get_by_role("cell", name=f"{other}: ")).to_be_visible()
        looked_at(page)
        assert not wrong


def looked_at(page: Page) -> None:
    for window in (PHONE, DESK):
        page.set_viewport_size(window)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert too_wide(page) <= 0
            assert violations(page) == []
    page.set_viewport_size(PHONE)


@pytest.mark.timeout(3 * LIMIT_S)
def test_the_same_without_scripts(browser: Browser, main: Main) -> None:
    with browsing(browser, main, scripts=False) as (page, _wrong):
        typed(page, 1000)
        page.get_by_role("button", name="Start").click()
        address = page.url
        number = int(address.rpartition("/")[2])
        main.has_begun(number)
        page.goto(address)
        expect(page.get_by_text("Simulating.")).to_be_visible()
        expect(page.locator(".plots svg[role=img]").first).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("main").get_by_text("stopped", exact=True)).to_be_visible()
        page.get_by_role("button", name="Go on").click()
        main.has_begun(number, main.one(number)["rounds_done"] + 1)
        page.goto(address)
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Remove").click()
        expect(page).to_have_url(f"{main.url}/studies")
        assert page.locator(f"a[href='/studies/{number}']").count() == 0


@pytest.mark.timeout(3 * LIMIT_S)
def test_a_report_opens_in_its_own_style_and_runs_nothing(browser: Browser, main: Main) -> None:
    number = main.start_study(SMALL)
    until(lambda: main.one(number)["state"] == "finished", "it is finished")
    report = main.state / "studies" / str(number) / "report.html"
    with browsing(browser, main) as (page, wrong):
        page.goto(f"{main.url}{API}/{number}/report")
        expect(page.get_by_role("heading", name="Who has what")).to_be_visible()
        assert page.evaluate(STYLE) == "760px"
        assert not wrong
        report.write_text(report.read_text().replace("</body>", f"{MARK}</body>"))
        page.goto(f"{main.url}{API}/{number}/report")
        expect(page.locator("#mark")).to_be_visible()
        assert page.evaluate(STYLE) == "760px", "another sheet beside it changes nothing"
        assert page.evaluate("[document.body.id, getComputedStyle(mark).color, getComputedStyle(mark).position]") == [
            "",
            page.evaluate("getComputedStyle(document.body).color"),
            "static",
        ]
        assert page.evaluate("() => { try { return document.cookie } catch { return 'none' } }") == "none"


@pytest.mark.timeout(3 * LIMIT_S)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_server_that_is_killed_leaves_no_process_and_its_study_goes_on(main: Main) -> None:
    number = main.start_study(LONG)
    main.has_begun(number)
    folder = main.state / "studies" / str(number)
    assert working_in(folder)
    main.end(signal.SIGKILL)
    until(lambda: not working_in(folder), "its study's processes have ended too")
    main.start()
    found = main.one(number)
    assert found["state"] == "interrupted"
    assert 2 <= found["rounds_done"] < LONG["rounds"]
    main.client.post(f"{API}/{number}/go-on")
    main.has_begun(number, found["rounds_done"] + 1)
    assert main.client.post(f"{API}/{number}/stop")["state"] == "stopped"
    until(lambda: not working_in(folder), "nothing is left of it")


def working_in(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder and "Z" not in (process / "stat").read_text().split()[2]:
                found.append(int(process.name))
    return [process for process in found if process != os.getpid()]
