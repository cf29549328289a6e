"""Five devices after some rounds: every page of every role, as people see it day by day."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

from fanlight.cli.owner_client import OwnerClient
from fanlight.services.main_server.task import Policy, Training
from scripts.screenshots.album import DESK, DESK_DARK, PHONE, Album
from scripts.screenshots.by_hand import leave
from scripts.screenshots.federation import Federation, federation, new_pictures, prepared, wait

ROUNDS: Final = 6
NAMES: Final = ("Front door", "Garden", "Garage", "Bike shed", "Shop")
BEST: Final = (DESK, PHONE, DESK_DARK)


def lived_in(album: Album, folder: Path) -> None:
    """Let rounds run by themselves, then look at everything."""
    policy = Policy(by_itself=True, wait_s=10, rounds=ROUNDS)
    with federation(folder, len(NAMES), policy, Training(epochs=2, learning_rate=0.0005)) as world:
        world.start_main()
        world.start_aggregator()
        homes = prepared(folder / "pictures", len(NAMES))
        devices = [world.start_device(name, home) for name, home in zip(NAMES, homes, strict=True)]
        wait(lambda: world.main.get("/api/v1/status")["finished"], "all rounds are done")
        main_server(album, world)
        aggregator(album, world)
        device(album, devices[0], new_pictures(folder / "new", 5))
        album.chapter("An altered log")
        broken(album, world)


def main_server(album: Album, world: Federation) -> None:
    """The operator's pages."""
    album.chapter("Main server")
    page, url = album.open(world.main), world.main.url
    album.take(page, "main-overview", "The start page: what is going on, how good the model is, who is there.", BEST)
    for path, name, caption in (
        ("/rounds", "main-rounds", "All rounds, with accuracy before and after."),
        (f"/rounds/{ROUNDS - 1}", "main-round", "One round: who took part, what came of it."),
        ("/models", "main-models", "All versions of the model; none is ever deleted."),
        (
            f"/models/{ROUNDS}?with=1",
            "main-model",
            "One version: lineage, note, figures, and a comparison with another.",
        ),
        ("/devices", "main-devices", "The devices, by state."),
        ("/task", "main-task", "The task: classes, training, and the policy of rounds."),
        ("/log", "main-log", "The log, a chain that is recomputed while one looks."),
        ("/aggregate_models", "main-step", "The page of a step, with what it needs and what comes next."),
        ("/libraries", "main-libraries", "Libraries of others, unmodified, with their licences."),
    ):
        page.goto(url + path)
        album.take(page, name, caption)


def aggregator(album: Album, world: Federation) -> None:
    """The aggregator's pages."""
    album.chapter("Secure aggregator")
    page, url = album.open(world.aggregator), world.aggregator.url
    album.take(page, "aggregator-overview", "The start page.")
    album.take(
        page,
        "aggregator-split-trust",
        "Who sees what, drawn with this federation's real numbers.",
        BEST,
        part="section:has(> .flow)",
    )
    for path, name, caption in (
        ("/rounds", "aggregator-rounds", "All rounds, and whose report was refused and why."),
        ("/log", "aggregator-log", "Its log, a chain as the main server's."),
        ("/send_model_secagg", "aggregator-step", "The page of a step."),
    ):
        page.goto(url + path)
        album.take(page, name, caption)


def device(album: Album, home: OwnerClient, new: list[Path]) -> None:
    """The pages of a device's owner."""
    album.chapter("Device")
    page = album.open(home)
    pictures(album, page, home.url, new)
    page.goto(home.url)
    album.take(page, "device-overview", "The start page: one thing to do now.", BEST)
    page.goto(f"{home.url}/learning")
    album.take(page, "device-learning", "Learning: before and after, on this device's own test pictures.", BEST)
    album.take(
        page, "device-learning-classes", "Class by class, and what was taken for what.", part="section:has(.confusion)"
    )
    album.take(page, "device-learning-course", "How the last training went.", part="#course")
    cell = page.locator(".confusion .wrong a").first
    (cell if cell.count() else page.locator(".confusion .right a").first).click()
    album.take(page, "device-taken-for", "The pictures behind one number of the table.")
    page.goto(f"{home.url}/learning")
    page.set_input_files("#try-picture", new[4])
    page.get_by_role("button", name="What is it?").click()
    page.wait_for_selector("#tried")
    album.take(
        page,
        "device-try-it",
        "Try it: a picture, the answers of both models, and where in it they look.",
        part="#tried",
    )
    for path, name, caption in (
        ("/modeltrain", "device-train", "The training, pass by pass."),
        ("/sendmodel", "device-send", "A step whose turn has not come."),
    ):
        page.goto(home.url + path)
        album.take(page, name, caption)
    privacy(album, page, home)


def privacy(album: Album, page: Page, home: OwnerClient) -> None:
    """What left, what the owner allows, and their way out."""
    page.goto(f"{home.url}/privacy")
    album.take(page, "device-privacy", "Privacy: what left this device, with a picture of the masked bytes.")
    album.take(page, "device-pause-and-leave", "Pause, and leave: what happens to what.", part="#pause, #leave")
    page.locator("#k_min").fill("1")
    page.get_by_role("button", name="Keep these floors").click()
    album.take(page, "device-wrong-floor", "A floor that cannot be is told where it stands.", part="#floors:has(.bad)")
    page.goto(f"{home.url}/privacy")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Paused").wait_for()
    page.goto(home.url)
    album.take(page, "device-paused", "A paused device: nothing is sent.")
    page.goto(f"{home.url}/privacy")
    album.take(page, "device-go-on", "Where it goes on again.", part="#pause")
    leave(page)
    page.locator("#leave").get_by_text("knows it").nth(1).wait_for()
    page.goto(home.url)
    album.take(page, "device-left", "A device that has left.")
    page.goto(f"{home.url}/privacy")
    album.take(page, "device-left-told", "Both servers know of it.", part="#leave")


def broken(album: Album, world: Federation) -> None:
    """Somebody has changed an entry of the main server's log."""
    with closing(sqlite3.connect(world.main.state / "state.sqlite3", timeout=60)) as file, file:
        file.execute("UPDATE log SET payload = x'00' WHERE seq = 3")
    page = album.open(world.main)
    page.goto(f"{world.main.url}/log?again=true")
    page.get_by_text("The chain is broken").first.wait_for()
    album.take(page, "main-log-broken", "Somebody has changed an entry of the log.")


def pictures(album: Album, page: Page, url: str, new: list[Path]) -> None:
    """The gallery with what an owner does in it."""
    page.goto(f"{url}/pictures")
    nothing = new[0].with_name("notes.txt")
    nothing.write_text("Buy a ladder.")
    page.set_input_files("#files", [*new, nothing])
    page.get_by_role("button", name="Put in", exact=True).click()
    page.locator("#added").wait_for()
    album.take(
        page,
        "device-pictures-new",
        "New pictures were put in and wait for a label; a file that holds none was not taken.",
    )
    page.get_by_role("button", name="Suggest labels").click()
    page.get_by_role("button", name="Yes, right").first.wait_for(state="attached")
    page.goto(f"{url}/pictures?state=suggested")
    album.take(page, "device-pictures-suggested", "What the model suggests, least sure first.", BEST)
    page.goto(f"{url}/pictures")
    album.take(page, "device-pictures", "All pictures, by state and class.", BEST)
    page.locator("a.open").first.click()
    page.wait_for_load_state()
    album.take(page, "device-picture", "One picture by itself.")
    page.goto(f"{url}/pictures?problem=duplicates")
    album.take(page, "device-pictures-alike", "Pictures that look alike, in groups.")
