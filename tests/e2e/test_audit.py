"""The logs of real servers, downloaded from their pages, are audited: good ones, and one that leaves a report out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from fanlight.consoles import aggregator as aggregator_pages
from fanlight.consoles import main_server as main_server_pages
from fanlight.protocol.audit.findings import Flaw
from fanlight.services.aggregator import held_reports
from tests.e2e.browser import DESK, PHONE, too_wide, violations, visit
from tests.e2e.test_pages import Served, logged_in
from tests.services_world import CLIENT, World, running, wait
from tests.unit.cli.conftest import fanlight as fanlight  # noqa: PLC0414 - a fixture

Fanlight = Callable[..., Any]
NAMES = {"main": "fanlight-main-log.jsonl", "aggregator": "fanlight-aggregator-log.jsonl"}


def downloaded(browser: Browser, world: World, role: str, folder: Path) -> Path:
    """The server's log, by the button on its page."""
    server = Served(role, world.ports[role].url.replace("127.0.0.1", "localhost"), world.apps[role])
    with logged_in(browser, server, DESK) as context:
        page, faults = visit(context)
        page.goto(f"{server.url}/log")
        expect(page.locator("#audit code").last).to_contain_text("fanlight audit --main")
        assert violations(page) == []
        page.set_viewport_size(PHONE)
        assert too_wide(page) <= 0
        with page.expect_download() as download:
            page.get_by_role("link", name="Download this log").click()
        assert download.value.suggested_filename == NAMES[role]
        download.value.save_as(folder / NAMES[role])
        assert faults == []
    return folder / NAMES[role]


def test_downloaded_logs_of_real_rounds_are_good(browser: Browser, tmp_path: Path, fanlight: Fanlight) -> None:
    with running(tmp_path) as world:
        devices = world.enrolled(3)
        for number in (1, 2):
            for device in devices:
                device.report()
            world.aggregate()
            wait(lambda number=number: world.open_round() == number + 1, "the next round is open")  # type: ignore[misc]
        world.owner("aggregator").ask("POST", "/api/v1/abandon")
        wait(lambda: world.open_round() == 4, "round 4 is open")
        main_server_pages.install(world.apps["main"], world.main)
        aggregator_pages.install(world.apps["aggregator"], world.aggregator)
        files = [downloaded(browser, world, role, tmp_path) for role in NAMES]
        command = ("audit", "--main", files[0], "--aggregator", files[1], "--root", world.federation / "root/root.pub")
        ran = fanlight(*command)
        assert (ran.code, ran.err) == (0, ""), ran.out
        assert "Rounds: 4 (2 released, 1 given up, 1 not over)" in ran.out
        assert "accepted  3: p-" in ran.out
        assert "the aggregator's operator gave it up" in ran.out
        lines = [json.loads(line) for line in fanlight(*command, "--json").out.splitlines()]
        models = world.owner("main").get("/api/v1/models")["models"]
        assert [line["model"] for line in lines[:3]] == [model["sha256"] for model in models]
        folders = ("audit", "--main", world.federation / "main", "--aggregator", world.federation / "aggregator")
        assert fanlight(*folders).code == 0


def test_nobody_but_the_owner_gets_the_file(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        for port in world.ports.values():
            assert CLIENT.get(f"{port.url}/api/v1/log/file").status_code == 401


def test_a_report_that_the_aggregator_leaves_out_is_proof_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fanlight: Fanlight
) -> None:
    """Main keeps the receipt in its log when it judges the list: the operator sees it, and an audit proves it."""
    with running(tmp_path) as world:
        devices = world.enrolled(3)
        for device in devices:
            device.report()
        whole, victim = held_reports.of_round, devices[0].id
        monkeypatch.setattr(
            held_reports, "of_round", lambda tx, mh: [held for held in whole(tx, mh) if held.device != victim]
        )
        world.aggregate()
        monkeypatch.undo()
        assert wait(lambda: world.round(1, participants=2), "round 1 is over without the victim")
        [incident] = world.owner("main").get("/api/v1/incidents")["incidents"]
        assert incident["type"] == "unlisted-receipt"
        [finding] = world.audit()
        assert (finding.flaw, finding.against.value) == (Flaw.UNLISTED, "aggregator")
        assert victim.hex() in finding.message
        ran = fanlight("audit", "--main", world.federation / "main")
        assert ran.code == 1
        assert "It proves: The aggregator signed a receipt for a report, and then a list without it" in ran.out
