"""A device that learns for long, and pictures that travel."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, Route

from fanlight.cli.owner_client import OwnerClient
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Training
from scripts.screenshots.album import Album
from scripts.screenshots.by_hand import ANNOUNCE, DEMO, TRAIN
from scripts.screenshots.federation import PATIENCE_S, federation, looked_through, new_pictures, prepared, press, wait


def busy(album: Album, folder: Path) -> None:
    """What runs for a while, and what it looks like meanwhile."""
    album.chapter("Busy")
    slowly = Training(epochs=1000, patience=1000, batch_size=1)
    with federation(folder, 2, Policy(demo=True, k_min=2), slowly) as world:
        world.start_main()
        world.start_aggregator()
        homes = prepared(folder / "pictures", 2)
        door = world.start_device("Front door", homes[0], DEMO)
        world.start_device("Garden", homes[1], DEMO)
        wait(lambda: world.main.get("/api/v1/status")["round"], "a round is open")
        owner = album.open(door)
        looked_through(owner)
        upload(album, owner, door, new_pictures(folder / "new", 1))
        training(album, owner, door)


def upload(album: Album, page: Page, device: OwnerClient, files: list[Path]) -> None:
    """The moment in which pictures travel, held until it has been photographed; then their way is cut."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.goto(f"{device.url}/pictures")
    page.route("**/pictures/add", hold)
    page.set_input_files("#files", files)
    page.get_by_role("button", name="Put in", exact=True).click(no_wait_after=True)
    album.take(
        page, "device-upload", "Pictures are being put in.", page.locator("[data-uploading] progress"), part="#put-in"
    )
    for route in held:
        route.abort()
    album.take(
        page,
        "device-upload-cut",
        "On their way the device stopped answering.",
        "The device did not answer.",
        part="#put-in",
    )
    page.unroute("**/pictures/add")


def training(album: Album, owner: Page, door: OwnerClient) -> None:
    """A training of many passes, on all pages that tell of it, and a step that waits for it."""
    press(owner, door, TRAIN)
    owner.locator(".job").get_by_text("of the training pictures").wait_for(timeout=1000 * PATIENCE_S)
    album.take(owner, "device-training", "Training is under way.", owner.locator(".job"))
    again(owner, door)
    owner.goto(door.url)
    album.take(owner, "device-overview-training", "The start page meanwhile.", owner.locator(".job"))
    again(owner, door)
    owner.goto(f"{door.url}/learning")
    album.take(
        owner,
        "device-learning-training",
        "The course of the training, while it runs.",
        owner.locator("#training .job"),
        part="#training",
    )
    again(owner, door)
    press(owner, door, ANNOUNCE)
    album.take(owner, "device-queued", "A step waits for the training that runs.", "Waiting for its turn")


def again(owner: Page, door: OwnerClient) -> None:
    """Train anew, once the training that runs is over, so that this one is seen from its beginning."""
    owner.goto(door.url + TRAIN)
    owner.locator("form.act button:enabled").click(timeout=1000 * PATIENCE_S)
    owner.locator(".job").wait_for()
