"""A demonstration of two devices, step by step: what each page says before, while and after its button was pressed."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from fanlight.cli.owner_client import OwnerClient
from fanlight.services.main_server.policy import Policy
from scripts.screenshots.album import Album
from scripts.screenshots.federation import (
    PATIENCE_S,
    Federation,
    federation,
    new_pictures,
    performed,
    prepared,
    press,
    wait,
)

DEMO = "--accept-demo"
TRAIN, ANNOUNCE, SEND = STEPS = ("/modeltrain", "/sendstatus", "/sendmodel")
AGGREGATE, RELEASE, PUBLISH, MEASURE = "/aggregate_models", "/send_model_secagg", "/send_model_clients", "/measure"


def by_hand(album: Album, folder: Path) -> None:
    """Two rounds, a version that is gone back from, and rounds that are held back."""
    with federation(folder, 2, Policy(demo=True, k_min=2)) as world:
        world.start_main()
        world.start_aggregator()
        homes = prepared(folder / "pictures", 2)
        door = world.start_device("Front door", homes[0], DEMO)
        garden = world.start_device("Garden", homes[1], DEMO)
        wait(lambda: world.main.get("/api/v1/status")["round"], "a round is open")
        operator, owner = album.open(world.main), album.open(door)
        album.chapter("Seven steps by hand")
        album.take(
            operator, "main-round-open", "A demonstration: round 1 is open, nothing has been sent.", "0 reports so far"
        )
        three_steps(album, owner, door)
        proposals(album, owner, operator, door, world.main, new_pictures(folder / "new", 1)[0].parent)
        performed(garden, *STEPS)
        four_to_seven(album, operator, world, garden)
        album.chapter("What came of it")
        wait(lambda: (door.get("/api/v1/status")["model"] or {}).get("version") == 1, "version 1 has come")
        owner.goto(door.url)
        album.take(owner, "device-better", "The new model has come: how much better it is here.", "Version 1 is here")
        at_the_aggregator(album, world, (door, garden))
        wait(lambda: (door.get("/api/v1/status")["model"] or {}).get("version") == 2, "version 2 has come")
        back(album, operator, world.main, owner, door)
        suggesting(album, owner, door, new_pictures(folder / "many", 60))
        held_back(album, operator, world)


def three_steps(album: Album, owner: Page, door: OwnerClient) -> None:
    """Train, announce, send, on a device."""
    owner.goto(door.url + SEND)
    album.take(owner, "device-send", "A step whose turn has not come.", owner.locator("form.act button:disabled"))
    press(owner, door, TRAIN)
    owner.get_by_text("Trained. Now announce it.").first.wait_for(timeout=1000 * PATIENCE_S)
    album.take(
        owner,
        "device-train",
        "The training is done: pass by pass, in a chart.",
        owner.locator("figure[data-drawn]").first,
    )
    press(owner, door, ANNOUNCE)
    album.take(owner, "device-announced", "Announced; sending comes next.", "Announced. Now send it.")
    press(owner, door, SEND)
    album.take(owner, "device-sent", "Sent; now the others are awaited.", "Sent. Now wait for the others.")


def proposals(album: Album, owner: Page, operator: Page, door: OwnerClient, main: OwnerClient, new: Path) -> None:
    """What an owner asks for: a class of a new name, and labels from the names of folders."""
    owner.goto(f"{door.url}/pictures")
    owner.locator("#new-class").fill("circle")
    owner.get_by_role("button", name="Propose to the operator").click()
    album.take(
        owner,
        "device-declined",
        "A class that is there already.",
        owner.locator("#declined"),
        part=".card:has(#declined)",
    )
    owner.locator("#new-class").fill("hexagon")
    owner.get_by_role("button", name="Propose to the operator").click()
    album.take(
        owner, "device-proposed", "A class was proposed.", "The new class was proposed to the operator", part=".toolbar"
    )
    folder = new / "holiday" / "star"
    folder.mkdir(parents=True)
    for picture in new.glob("*.png"):
        picture.rename(folder / picture.name)
    owner.goto(f"{door.url}/pictures")
    owner.set_input_files("#folder", folder.parent)
    album.take(
        owner,
        "device-folder-question",
        "A folder is called like a class.",
        "Do their pictures show that?",
        part="#put-in",
    )
    owner.get_by_role("button", name="Yes, label them so").click()
    owner.locator("#added").wait_for()

    def proposed() -> bool:
        operator.goto(f"{main.url}/task")
        return operator.get_by_text("hexagon").count() > 0

    wait(proposed, "the operator hears of the new class")
    album.take(operator, "main-proposal", "A device proposes a class.", "hexagon", part="#proposals")


def four_to_seven(album: Album, operator: Page, world: Federation, garden: OwnerClient) -> None:
    """Aggregate, publish, measure, on the main server."""
    operator.goto(world.main.url)
    operator.get_by_text("That is enough").first.wait_for()
    operator.goto(world.main.url + AGGREGATE)
    album.take(operator, "main-step", "The page of a step that can be performed.", "2 reports have arrived.")
    with world.asleep(world.aggregator):
        press(operator, world.main, AGGREGATE)
        album.take(operator, "main-aggregating", "The step runs.", operator.locator(".job"))
        operator.goto(world.main.url)
        album.take(
            operator, "main-overview-aggregating", "The start page meanwhile.", "The reports are being added up."
        )
    operator.goto(world.main.url + PUBLISH)
    operator.get_by_text("A new model is ready.").wait_for(timeout=1000 * PATIENCE_S)
    album.take(operator, "main-publish", "A new model is ready to be published.", "A new model is ready.")
    press(operator, world.main, PUBLISH)
    album.take(operator, "main-published", "It is published.", operator.locator(".note.good"))
    with world.asleep(garden):
        press(operator, world.main, MEASURE)
        album.take(
            operator,
            "main-measuring",
            "The model is being measured; one device has yet to answer.",
            "1 report so far",
        )
    operator.locator(".note.good").wait_for(timeout=1000 * PATIENCE_S)
    album.take(operator, "main-measured", "It was measured.", operator.locator(".note.good"))


def at_the_aggregator(album: Album, world: Federation, devices: tuple[OwnerClient, ...]) -> None:
    """A second round, added up and released on the aggregator's own pages."""
    for device in devices:
        performed(device, *STEPS)
    page = album.open(world.aggregator)
    album.take(page, "aggregator-ready", "Enough reports are here.", "That is enough")
    with world.asleep(world.main):
        press(page, world.aggregator, AGGREGATE)
        album.take(page, "aggregator-aggregating", "The round is being closed.", page.locator(".job"))
    page.goto(world.aggregator.url + RELEASE)
    page.get_by_text("the sum can be released").wait_for(timeout=1000 * PATIENCE_S)
    with world.asleep(world.main):
        press(page, world.aggregator, RELEASE)
        album.take(page, "aggregator-releasing", "The sum is being released.", page.locator(".job"))
    wait(lambda: world.main.get("/api/v1/status")["round"]["state"] == "released", "the sum is at the main server")
    performed(world.main, PUBLISH)


def back(album: Album, operator: Page, main: OwnerClient, owner: Page, door: OwnerClient) -> None:
    """The operator goes back to an earlier version."""
    operator.goto(f"{main.url}/models/1/current")
    operator.get_by_role("button", name="Go back to version 1").click()
    operator.get_by_text("Devices fetch this version.").wait_for()
    operator.goto(f"{main.url}/models/2")
    album.take(
        operator, "main-not-current", "A version that devices do not fetch any more.", "Devices fetch version 1 now."
    )
    wait(lambda: door.get("/api/v1/status")["model"]["version"] == 1, "version 1 has come again")
    owner.goto(door.url)
    album.take(owner, "device-went-back", "The operator went back to an earlier version.", "The operator went back")


def held_back(album: Album, operator: Page, world: Federation) -> None:
    """A round that is given up while the aggregator is busy, and no further one."""
    wait(lambda: world.main.get("/api/v1/status")["round"]["state"] == "open", "a round is open")
    operator.goto(f"{world.main.url}/task")
    operator.get_by_role("button", name="Pause: open no further round").click()
    operator.get_by_role("button", name="Let rounds go on").wait_for()
    operator.goto(world.main.url)
    album.take(operator, "main-held", "No further round opens; the one that is open goes on.", "goes on.")
    number = world.main.get("/api/v1/status")["round"]["round"]
    with world.asleep(world.aggregator):
        operator.goto(f"{world.main.url}/rounds/{number}")
        operator.get_by_text("Abandon this round").click()
        operator.get_by_role("button", name=f"Abandon round {number}").click()
        album.take(operator, "main-abandoning", "A round is being given up.", "is being abandoned", part="#timeline")
    operator.goto(world.main.url)
    operator.get_by_text("You have paused the rounds.").or_(
        operator.get_by_role("button", name="Let rounds go on")
    ).first.wait_for()
    wait(lambda: world.main.get("/api/v1/status")["round"]["state"] == "abandoned", "the round is given up")
    operator.goto(world.main.url)
    album.take(
        operator, "main-paused", "The operator has paused the rounds.", operator.locator(".hero").get_by_role("button")
    )


def suggesting(album: Album, owner: Page, door: OwnerClient, new: list[Path]) -> None:
    """The model looks at many new pictures."""
    owner.goto(f"{door.url}/pictures")
    owner.set_input_files("#files", new)
    owner.get_by_role("button", name="Put in", exact=True).click()
    owner.locator("#added").wait_for(timeout=1000 * PATIENCE_S)
    owner.get_by_role("button", name="Suggest labels").click()
    album.take(owner, "device-suggesting", "The model looks at new pictures.", owner.locator(".job"))
