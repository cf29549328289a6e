"""A demonstration of two devices, step by step: what is busy, and what goes wrong."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Page, Route
from sqlalchemy import insert

from fanlight.cli.owner_client import OwnerClient
from fanlight.protocol.closing import Outcome, SignedOutcome
from fanlight.services.main_server.task import Policy, Training
from fanlight.storage.database import Database
from fanlight.storage.tables.device import contradictions
from scripts.screenshots.album import Album
from scripts.screenshots.federation import Federation, federation, prepared, wait

DEMO = "--accept-demo"


def by_hand(album: Album, folder: Path) -> None:
    """Two devices that learn for long, a third that refuses, and a token that was copied."""
    album.chapter("Busy")
    with federation(folder, 4, Policy(demo=True, k_min=2), Training(epochs=1000, patience=1000, batch_size=1)) as world:
        world.start_main()
        world.start_aggregator()
        homes = prepared(folder / "pictures", 4)
        left = world.start_device("left", homes[0], DEMO)
        right = world.start_device("right", homes[1], DEMO)
        wait(lambda: world.main.get("/api/v1/status")["round"], "a round is open")
        operator, owner = album.open(world.main), album.open(left)
        album.take(operator, "main-round-open", "A demonstration: round 1 is open, nothing has been sent.")
        upload(album, owner, left, sorted(homes[1].rglob("*.png"))[:3])
        press(owner, left, "/modeltrain")
        owner.locator(".job").get_by_text("of the training pictures").wait_for()
        album.take(owner, "device-training", "Training is under way.")
        press(owner, left, "/modeltrain")  # waits for the last one, so that this one is seen from its beginning
        owner.goto(left.url)
        owner.locator(".job").first.wait_for()
        album.take(owner, "device-overview-training", "The start page meanwhile.")
        press(owner, left, "/modeltrain")
        owner.goto(f"{left.url}/learning")
        album.take(owner, "device-learning-training", "The course of the training, while it runs.", part="#training")
        problems(album, operator, world.main)

        strict = world.start_device("strict", homes[2])
        wait(lambda: strict.get("/api/v1/refusals")["refusals"], "the round is refused")
        stranger = album.open(strict)
        looked_through(stranger)
        album.take(stranger, "device-refuses", "A device that takes part in no demonstration.")
        stranger.goto(f"{strict.url}/privacy")
        album.take(stranger, "device-refused", "A round was refused, and why.", part="#refused")

        token = folder / "federation" / "tokens" / "right.json"
        world.start_device("copy of right", homes[3], DEMO, token=token)
        wait(lambda: world.main.get("/api/v1/status")["incidents"], "the copied token is noticed")
        operator.goto(world.main.url)
        album.take(
            operator,
            "main-incident",
            "What should not have happened: a token was used by two devices.",
            part="#incidents",
        )
        servers_at_work(album, world, operator)
        equivocation(album, right)
        gone(album, world, operator, right)


def servers_at_work(album: Album, world: Federation, operator: Page) -> None:
    """Steps that run at both servers: a measurement for which one device has no time, and one that is asked for."""
    album.chapter("Busy servers")
    press(operator, world.main, "/measure")
    operator.locator(".job").wait_for()
    album.take(operator, "main-measuring", "A step runs at the main server: the model is being measured.")
    other = album.open(world.aggregator)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    other.goto(f"{world.aggregator.url}/aggregate_models")
    other.route("**/aggregate_models", hold)
    press_all_the_same(other)
    other.locator("button[aria-disabled]").wait_for()
    album.take(other, "aggregator-working", "A button was pressed at the aggregator, which has not answered yet.")
    for route in held:
        route.abort()


def equivocation(album: Album, device: OwnerClient) -> None:
    """An aggregator that has said two different things, as the device keeps it."""
    album.chapter("Trouble at a device")
    outcome = Outcome(mh=bytes(32), result="released", reason="ok", set_root=bytes(32))
    signed = SignedOutcome(payload=outcome.encode(), aggregator_signature=bytes(64)).encode()
    evidence = {"mh": bytes(32), "number": 1, "first": signed, "second": signed, "found_at": int(time.time())}
    with Database(device.state / "state.sqlite3") as database, database.transaction() as tx:
        tx.execute(insert(contradictions).values(**evidence))
    page = album.open(device)
    album.take(page, "device-equivocation", "The aggregator has said two things about a round.", part="#equivocation")


def upload(album: Album, page: Page, device: OwnerClient, files: list[Path]) -> None:
    """The moment in which pictures travel, held until it has been photographed."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.goto(f"{device.url}/pictures")
    page.route("**/pictures/add", hold)
    page.set_input_files("#files", files)
    page.get_by_role("button", name="Put in", exact=True).click(no_wait_after=True)
    page.locator("[data-uploading]").wait_for()
    album.take(page, "device-upload", "Pictures are being put in.")
    for route in held:
        route.abort()
    page.unroute("**/pictures/add")


def press(page: Page, device: OwnerClient, step: str) -> None:
    """Press the button of a step on its page."""
    page.goto(device.url + step)
    page.locator("form.act button").click()


def problems(album: Album, page: Page, main: OwnerClient) -> None:
    """What a person can run into."""
    album.chapter("Problems")
    page.goto(f"{main.url}/aggregate_models")
    album.take(page, "main-step-not-yet", "A step that cannot run yet says why, and what to do.")
    press_all_the_same(page)
    page.locator("#problem").wait_for()
    album.take(page, "main-problem", "The same step, asked for all the same.")
    page.goto(f"{main.url}/task")
    page.locator("details:has(#policy-k_min) > summary").click()
    page.locator("#policy-k_min").fill("1")
    page.locator("#policy-k_min").evaluate("input => { input.form.noValidate = true; input.form.requestSubmit(); }")
    album.take(
        page,
        "main-wrong-number",
        "A number that the policy cannot have is told where it stands.",
        part="section:has(.wrong-input)",
    )
    page.goto(f"{main.url}/rounds?page=99")
    album.take(page, "main-beyond-the-last", "A page beyond the last.")
    page.goto(f"{main.url}/rounds/99")
    album.take(page, "main-not-found", "An address that leads nowhere.")
    end_session(page)
    page.goto(f"{main.url}/task")
    album.take(page, "main-login", "The session is over: log in, and be back on the page that was asked for.")
    page.goto(f"{main.url}/login?token=used")
    album.take(page, "main-login-refused", "A login link works once.")
    page.goto(main.login_link())


def end_session(page: Page) -> None:
    """The browser keeps a cookie that is worth nothing any more."""
    for cookie in page.context.cookies():
        address = {"domain": cookie["domain"], "path": cookie["path"]}
        page.context.add_cookies([{"name": cookie["name"], "value": "over", **address}])  # type: ignore[typeddict-item]


def press_all_the_same(page: Page) -> None:
    """The button of a step that is not possible."""
    button = page.locator("form.act button")
    button.evaluate("button => { button.disabled = false; button.click(); }")


def gone(album: Album, world: Federation, operator: Page, device: OwnerClient) -> None:
    """The main server is stopped while people look at it, and go on elsewhere."""
    other = album.open(world.aggregator)
    operator.goto(f"{world.main.url}/aggregate_models")
    world.stop(world.main)
    press_all_the_same(operator)
    album.take(operator, "main-no-answer", "The server behind an open page has stopped.", part="[data-no-answer]")
    operator.locator("#close-notice").click()
    operator.get_by_role("navigation", name="Pages").get_by_role("link", name="Rounds").click()
    operator.get_by_text("The page that you asked for opens then.").wait_for()
    album.take(operator, "main-not-connected", "A link waits until the server is there again.")
    other.get_by_text("The main server cannot be reached").wait_for()
    album.take(other, "aggregator-main-gone", "The aggregator does not reach the main server.")
    page = album.open(device)
    wait(lambda: device.get("/api/v1/status")["problem"], "the device notices")
    page.goto(device.url)
    looked_through(page)
    album.take(page, "device-main-gone", "The main server does not answer.")
    page.goto(f"{device.url}/privacy")
    leave(page)
    page.get_by_text("not told yet").first.wait_for()
    album.take(page, "device-left-not-told", "A device that left while a server does not answer.", part="#leave")


def leave(page: Page) -> None:
    """Leave the federation, on the page Privacy."""
    page.locator("#sure").check()
    page.get_by_role("button", name="Leave the federation").click()


def looked_through(page: Page) -> None:
    """Until the device knows all of its pictures; the open page hears of it."""
    page.get_by_text("Looking through your pictures").wait_for(state="hidden")
