"""Rolling back in a running federation: the open round gives way, devices fetch the older version and answer again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fanlight.cli.owner_client import OwnerClient
from fanlight.cli.status_looks import look_at
from fanlight.protocol.exchange import ClassProposal
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.plan import Kind
from fanlight.services.http.sessions import API_TOKEN_FILE
from fanlight.services.main_server.app import MainServerParts
from tests.e2e.browser import WINDOWS, on_every_screen, too_wide, violations, visit
from tests.e2e.test_pages import Served, logged_in, served
from tests.services_world import CLIENT, ProtocolDevice, World, running, wait
from tests.unit.main_server.past import add_round, measure, server


def ask(world: World, method: str, path: str, **body: object) -> tuple[int, dict[str, object]]:
    """What the owner's JSON API of the main server answers."""
    token = (world.federation / "main" / API_TOKEN_FILE).read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    answer = CLIENT.request(method, world.owner("main").url + path, json=body, headers=headers)
    return answer.status_code, answer.json()


def terms(device: ProtocolDevice) -> Manifest | None:
    manifest = device.offer().manifest
    return None if manifest is None else Manifest.decode(SignedManifest.decode(manifest).payload)


def test_a_roll_back_under_an_open_round(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = world.enrolled(2)
        first = [device.report().record for device in devices]
        start = devices[0].offer().model
        world.aggregate()
        wait(lambda: world.open_round() == 2, "round 2 is open")
        assert devices[0].offer().model_version == 1
        devices[0].report()

        status, answer = ask(world, "POST", "/api/v1/models/0/current", abandon=False)
        assert (status, answer["error"]["slug"]) == (409, "round-not-over")  # type: ignore[index]
        assert ask(world, "POST", "/api/v1/models/0/current", abandon=True)[0] == 200
        wait(lambda: world.open_round() == 3, "round 3 is open")

        assert world.round(2, state="abandoned")
        offer = devices[0].offer()
        assert (offer.model, offer.model_version) == (start, 0)
        manifest = terms(devices[0])
        assert manifest is not None
        assert manifest.proposal.model == start
        assert manifest.proposal.kind == Kind.TRAIN
        assert manifest.proposal.attempt > first[0].attempt
        for device in devices:
            device.report()
        world.aggregate()
        models = world.owner("main").get("/api/v1/models/2")
        assert (models["from_version"], models["current"]) == (0, True)
        assert world.owner("main").get("/api/v1/models/1")["published"]
        world.check_traces()


def test_a_policy_holds_from_the_next_manifest_on(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = world.enrolled(2)
        devices[0].report()
        status, policy = ask(world, "PUT", "/api/v1/policy", n_max=20, k_min=3, by_itself=True)
        assert (status, policy["n_max"], policy["by_itself"]) == (200, 20, True)
        before = terms(devices[0])
        assert before is not None
        assert before.proposal.n_max == 50
        assert not devices[0].offer().by_itself
        devices[1].report()
        assert not world.main.conductor.advance(), "the open round began by hand"
        owner = world.owner("main")
        (look,) = look_at([OwnerClient("main server", owner.url, owner.state / API_TOKEN_FILE)])
        assert (look.reports, look.needed) == (2, 2), "what the open round needs, not the next one"
        ask(world, "PUT", "/api/v1/policy", k_min=2)
        world.aggregate()
        wait(lambda: world.open_round() == 2, "the next round opens")
        assert devices[0].offer().by_itself
        after = terms(devices[0])
        assert after is not None
        assert after.proposal.n_max == 20
        assert ask(world, "PUT", "/api/v1/policy", k_min=0)[0] == 400


def test_a_device_proposes_a_class(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        device = world.enrolled(2)[0]
        for _ in range(2):
            propose(device, "fox")
        (found,) = world.owner("main").get("/api/v1/class-proposals")["proposals"]
        assert (found["name"], len(found["devices"])) == ("fox", 1)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, MainServerParts]]:
    """A main server with two measured versions, and long and hostile names."""
    folder = tmp_path_factory.mktemp("models") / "federation"
    app, parts = server(folder, classes=("cat", "W" * 64, "<b>not bold"))
    counts = [[40, 20, 15], [30, 60, 12], [11, 12, 80]]
    for number in (1, 2):
        add_round(parts, number)
        measure(parts, number, counts, counts)
    parts.service.promotion.write_note(1, "W" * 300)
    with socket.create_server(("127.0.0.1", 0)) as listener, served("main", app, listener) as made:
        yield made, parts


@on_every_screen
def test_the_pages_fit_the_screen(
    browser: Browser, measured: tuple[Served, MainServerParts], window: str, dark: bool
) -> None:
    made, parts = measured
    with logged_in(browser, made, WINDOWS[window], dark=dark) as context:
        page, wrong = visit(context)
        models = ("/models", "/models/1?with=0", "/models/1/current")
        for path in ("/rounds", "/rounds/1", *models, "/devices", "/task", "/log"):
            page.goto(made.url + path)
            for summary in page.locator("summary").all():
                summary.click()
            assert too_wide(page) <= 0, path
            assert violations(page) == [], path
        page.goto(f"{made.url}/models/1")
        page.get_by_role("link", name="Go back to this version").click()
        page.get_by_role("button", name="Go back to version 1").click()
        expect(page).to_have_url(f"{made.url}/models/1")
        assert parts.records.model(1)["current"]
        parts.service.make_current(2)
        assert not wrong


def propose(device: ProtocolDevice, name: str) -> None:
    remote = device.main.remote
    remote.send("POST", "/protocol/v1/class-proposals", content=ClassProposal(name=name).encode())
