"""What people can run into: steps out of turn, servers that are away, pictures that are gone, a copied token."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, Route
from sqlalchemy import insert, select

from fanlight.cli.owner_client import OwnerClient
from fanlight.protocol.closing import Outcome, SignedOutcome
from fanlight.services.aggregator import refusals
from fanlight.services.main_server.policy import Policy
from fanlight.storage.database import Database
from fanlight.storage.tables.aggregator import rounds
from fanlight.storage.tables.device import contradictions
from scripts.screenshots.album import Album
from scripts.screenshots.by_hand import AGGREGATE, ANNOUNCE, DEMO, PUBLISH, SEND, STEPS, TRAIN
from scripts.screenshots.federation import (
    PATIENCE_S,
    Federation,
    federation,
    leave,
    looked_through,
    performed,
    prepared,
    press,
    wait,
)


def trouble(album: Album, folder: Path) -> None:
    """A demonstration in which much goes wrong."""
    with federation(folder, 5, Policy(demo=True, k_min=2)) as world:
        world.start_main()
        world.start_aggregator()
        homes = prepared(folder / "pictures", 5)
        door = world.start_device("Front door", homes[0], DEMO)
        garden = world.start_device("Garden", homes[1], DEMO)
        wait(lambda: world.main.get("/api/v1/status")["round"], "a round is open")
        operator = album.open(world.main)
        problems(album, operator, world)
        incidents(album, operator, world, homes)
        shop = pictures_gone(album, world, homes[4])
        undelivered(album, world, door, garden, shop)
        refused(album, world, door)
        unexpected(album, operator, world.main)
        main_gone(album, world, operator, garden)
        equivocation(album, door)


def problems(album: Album, page: Page, world: Federation) -> None:
    """What an operator can run into."""
    album.chapter("Problems")
    main = world.main
    page.goto(main.url + AGGREGATE)
    album.take(
        page,
        "main-step-not-yet",
        "A step that cannot run yet says why, and what to do.",
        page.locator("form.act button:disabled"),
    )
    press_all_the_same(page)
    page.locator("#problem").wait_for()
    album.take(page, "main-problem", "The same step, asked for all the same.", page.locator("#problem"))
    page.goto(f"{main.url}/task")
    page.locator("details:has(#policy-k_min) > summary").click()
    page.locator("#policy-k_min").fill("1")
    page.locator("#policy-k_min").evaluate("input => { input.form.noValidate = true; input.form.requestSubmit(); }")
    album.take(
        page,
        "main-wrong-number",
        "A number that the policy cannot have is told where it stands.",
        page.locator(".wrong-input"),
        part="section:has(.wrong-input)",
    )
    for path, name, caption, shows in (
        ("/rounds?page=99", "main-beyond-the-last", "A page beyond the last.", "There is no such page."),
        ("/models?page=99", "main-models-beyond-the-last", "The same of versions.", "There is no such page."),
        ("/rounds/99", "main-not-found", "A round that there is not.", "There is no round 99."),
        ("/nowhere", "main-nowhere", "An address that leads nowhere.", "There is no such page or route here."),
    ):
        page.goto(main.url + path)
        album.take(page, name, caption, shows)
    other = album.open(world.aggregator)
    other.goto(f"{world.aggregator.url}/rounds?page=99")
    album.take(other, "aggregator-beyond-the-last", "A page beyond the aggregator's last.", "There is no such page.")
    end_session(page)
    page.goto(f"{main.url}/task")
    album.take(
        page,
        "main-login",
        "The session is over: log in, and be back on the page that was asked for.",
        "Your session is over",
    )
    page.goto(f"{main.url}/login?token=used")
    album.take(page, "main-login-refused", "A login link works once.", "This link was used already")
    page.goto(main.login_link())


def incidents(album: Album, operator: Page, world: Federation, homes: tuple[Path, ...]) -> None:
    """A device that takes part in no demonstration, and a token that was copied."""
    strict = world.start_device("Attic", homes[2])
    wait(lambda: strict.get("/api/v1/refusals")["refusals"], "the round is refused")
    page = album.open(strict)
    looked_through(page)
    album.take(page, "device-refuses", "A device that takes part in no demonstration.", "refused")
    page.goto(f"{strict.url}/privacy")
    album.take(
        page, "device-refused", "A round was refused, and why.", page.locator("#refused li").first, part="#refused"
    )
    token = world.folder / "federation" / "tokens" / "Garden.json"
    world.start_device("Copy of Garden", homes[3], DEMO, token=token)
    wait(lambda: world.main.get("/api/v1/status")["incidents"], "the copied token is noticed")
    operator.goto(world.main.url)
    album.take(
        operator,
        "main-incident",
        "What should not have happened: a token was used by two devices.",
        "a token",
        part="#incidents",
    )


def pictures_gone(album: Album, world: Federation, home: Path) -> OwnerClient:
    """The disk with the pictures is taken out while the device computes on them; later it is put back."""
    album.chapter("Trouble at a device")
    for path in home.rglob("*.png"):  # as large as those of a camera, so that it takes a while
        Image.open(path).resize((1000, 1000)).save(path)
    shop = world.start_device("Shop", home, DEMO)
    page = album.open(shop)
    looked_through(page)
    press(page, shop, TRAIN)
    page.locator(".job").get_by_text("new pictures").wait_for()
    taken = home.rename(home.with_name("taken out"))
    page.get_by_text("The last attempt failed.").wait_for(timeout=1000 * PATIENCE_S)
    album.take(page, "device-training-failed", "A training failed.", "The last attempt failed.")
    page.goto(shop.url + TRAIN)
    press_all_the_same(page)
    album.take(page, "device-no-folder", "Nor can it be begun anew.", page.locator("#problem"))
    page.goto(shop.url)
    album.take(page, "device-folder-gone", "The folder with the pictures is gone.", "with the pictures is not there")
    taken.rename(home)
    return shop


def undelivered(album: Album, world: Federation, door: OwnerClient, *others: OwnerClient) -> None:
    """The aggregator is away when a device wants to send; when it is there again, the others are quicker."""
    performed(door, TRAIN, ANNOUNCE)
    world.stop(world.aggregator)
    page = album.open(door)
    press(page, door, SEND)
    page.goto(door.url)
    album.take(
        page, "device-undelivered", "A report could not be delivered; the device tries again.", "Not delivered yet."
    )
    page.goto(door.url + SEND)
    album.take(page, "device-send-again", "The step meanwhile.", "Not delivered yet.")
    operator = album.open(world.main)
    album.take(operator, "main-aggregator-gone", "The aggregator has gone.", "The secure aggregator is not connected.")
    with world.asleep(door):
        world.start_aggregator()
        for device in others:
            performed(device, *STEPS)
        wait(lambda: world.main.get("/api/v1/status")["reports"] == len(others), "both reports have arrived")
        performed(world.main, AGGREGATE, PUBLISH)
    wait(lambda: door.get("/api/v1/learning")["rounds"][-1]["result"], "the device hears how the round ended")
    page.goto(f"{door.url}/learning")
    album.take(
        page,
        "device-left-out",
        "A device whose report came too late.",
        "The others were added up without its report.",
        part="#rounds",
    )


def refused(album: Album, world: Federation, door: OwnerClient) -> None:
    """A report that came too late, as the aggregator keeps that."""
    device = bytes.fromhex(door.get("/api/v1/status")["device"])
    with Database(world.aggregator.state / "state.sqlite3") as database, database.transaction() as tx:
        mh = tx.execute(select(rounds.c.mh).where(rounds.c.number == 1)).scalar_one()
        refusals.note(tx, mh, device, "report-late", time.time())
    page = album.open(world.aggregator)
    page.goto(f"{world.aggregator.url}/rounds")
    album.take(page, "aggregator-refused", "A report that came too late was refused.", "refused:", part="#refused")


def equivocation(album: Album, device: OwnerClient) -> None:
    """An aggregator that has said two different things, as the device keeps it."""
    outcome = Outcome(mh=bytes(32), result="released", reason="ok", set_root=bytes(32))
    signed = SignedOutcome(payload=outcome.encode(), aggregator_signature=bytes(64)).encode()
    evidence = {"mh": bytes(32), "number": 1, "first": signed, "second": signed, "found_at": int(time.time())}
    with Database(device.state / "state.sqlite3") as database, database.transaction() as tx:
        tx.execute(insert(contradictions).values(**evidence))
    page = album.open(device)
    album.take(
        page,
        "device-equivocation",
        "The aggregator has said two things about a round.",
        "has said two different things",
        part="#equivocation",
    )


def unexpected(album: Album, operator: Page, main: OwnerClient) -> None:
    """Somebody has written into the main server's database what it never would."""
    with closing(sqlite3.connect(main.state / "state.sqlite3", timeout=60)) as file, file:
        file.execute("UPDATE models SET created_at = 'yesterday' WHERE version = 0")
    operator.goto(f"{main.url}/models/0")
    album.take(
        operator,
        "main-unexpected",
        "Something that nobody had thought of: a reference, under which the log says more.",
        "Something went wrong here",
    )


def main_gone(album: Album, world: Federation, operator: Page, device: OwnerClient) -> None:
    """The main server is stopped while people look at it, and go on elsewhere."""
    other = album.open(world.aggregator)
    working(album, other, world)
    operator.goto(f"{world.main.url}/measure")
    world.stop(world.main)
    operator.locator("form.act button").click(no_wait_after=True)
    album.take(
        operator, "main-no-answer", "The server behind an open page has stopped.", operator.locator("[data-no-answer]")
    )
    operator.locator("#close-notice").click()
    operator.get_by_role("navigation", name="Pages").get_by_role("link", name="Rounds").click()
    album.take(
        operator,
        "main-not-connected",
        "A link waits until the server is there again.",
        "The page that you asked for opens then.",
    )
    other.goto(world.aggregator.url)
    album.take(
        other,
        "aggregator-main-gone",
        "The aggregator does not reach the main server.",
        "The main server cannot be reached",
    )
    page = album.open(device)
    wait(lambda: device.get("/api/v1/status")["problem"], "the device notices")
    page.goto(device.url)
    looked_through(page)
    album.take(page, "device-main-gone", "The main server does not answer.", "This device tries again by itself")
    page.goto(f"{device.url}/privacy")
    leave(page)
    album.take(
        page,
        "device-left-not-told",
        "A device that left while a server does not answer.",
        "not told yet",
        part="#leave",
    )


def working(album: Album, page: Page, world: Federation) -> None:
    """A button was pressed, and the server has not answered yet."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.goto(world.aggregator.url + AGGREGATE)
    page.route("**/aggregate_models", hold)
    press_all_the_same(page)
    album.take(
        page,
        "aggregator-working",
        "A button was pressed at the aggregator, which has not answered yet.",
        page.locator("button[aria-disabled]"),
    )
    for route in held:
        route.abort()
    page.unroute("**/aggregate_models")


def end_session(page: Page) -> None:
    """The browser keeps a cookie that is worth nothing any more."""
    for cookie in page.context.cookies():
        address = {"domain": cookie["domain"], "path": cookie["path"]}
        page.context.add_cookies([{"name": cookie["name"], "value": "over", **address}])  # type: ignore[typeddict-item]


def press_all_the_same(page: Page) -> None:
    """Send the form of a step that is not possible, as a page would that has not heard of it."""
    page.locator("form.act button").evaluate("button => button.form.requestSubmit()")
