"""Six devices after some rounds: every page of every role, as people see it day by day."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.sync_api import Page

from fanlight.cli.federation import REVOCATIONS_PATH
from fanlight.cli.owner_client import OwnerClient
from fanlight.services.federation import revoke
from fanlight.services.main_server.policy import Policy
from scripts.screenshots.album import DESK, DESK_DARK, PHONE, Album
from scripts.screenshots.federation import Federation, federation, leave, new_pictures, own_pictures, prepared, wait
from scripts.screenshots.studies import studies

ROUNDS: Final = 7
LIVE: Final = 4
"""The round that is looked at while it runs."""
NAMES: Final = ("Front door", "Garden", "Garage", "Bike shed", "Shop", "Stable")
GONE: Final = "Bike shed"
"""Is put out while its report lies at the aggregator."""
BEST: Final = (DESK, PHONE, DESK_DARK)


def lived_in(album: Album, folder: Path) -> None:
    """Let rounds run by themselves, then look at everything."""
    # so that the round that is looked at waits for the last of them; later on, a sixth of the reports is left out
    policy = Policy(by_itself=True, k_min=len(NAMES), rounds=ROUNDS, r_max_percent=20)
    with federation(folder, len(NAMES), policy) as world:
        world.start_main()
        world.start_aggregator()
        homes = prepared(folder / "pictures", len(NAMES))
        devices = [world.start_device(name, home) for name, home in zip(NAMES, homes, strict=True)]
        wait(lambda: _newest(world)["round"] >= LIVE, f"round {LIVE} is open")
        with world.asleep(devices[-1]):
            wait(lambda: _is_waiting(world), "all others have sent theirs")
            live = under_way(album, world, devices[0])
        wait(lambda: _newest(world)["round"] > live, "the next round is open")
        with world.asleep(devices[-1]):
            wait(lambda: _is_waiting(world), "all others have sent theirs again")
            less: int = _newest(world)["round"]
            put_out(world, GONE)
        wait(lambda: world.main.get("/api/v1/status")["finished"], "all rounds are done")
        main_server(album, world, less)
        studies(album, world.main)
        aggregator(album, world)
        device(album, devices[0], new_pictures(folder / "new", 5))
        revoked(album, devices[NAMES.index(GONE)])
        album.chapter("An altered log")
        broken(album, world)


def _newest(world: Federation) -> dict[str, Any]:
    found: dict[str, Any] = world.main.get("/api/v1/status")["round"] or {"round": 0}
    return found


def _is_waiting(world: Federation) -> bool:
    status = world.main.get("/api/v1/status")
    return bool(status["round"]["state"] == "open" and status["reports"] == len(NAMES) - 1)


def under_way(album: Album, world: Federation, home: OwnerClient) -> int:
    """A round in which five have reported, and the sixth is awaited; its number."""
    album.chapter("A round under way")
    page = album.open(world.main)
    album.take(
        page,
        "main-overview",
        "The main server's start page while a round runs: five devices have reported, one is awaited.",
        page.get_by_role("heading", level=1, name="5 reports so far"),
        BEST,
    )
    album.take(
        page,
        "main-timeline",
        "The round from device to device: who has announced, whose report has arrived.",
        page.locator(".mark.report").first,
        part="#timeline",
    )
    number: int = _newest(world)["round"]
    page.goto(f"{world.main.url}/rounds/{number}")
    album.take(page, "main-round-live", "The same round by itself.", "report arrived")
    page = album.open(world.aggregator)
    album.take(
        page, "aggregator-overview", "The aggregator's start page: five masked reports lie here.", "Who sees what"
    )
    album.take(
        page,
        "aggregator-split-trust",
        "Who sees what, drawn with this federation's real numbers: the noise is a report that lies here now.",
        "of a report that lies here now",
        BEST,
        part="section:has(> .flow)",
    )
    page = album.open(home)
    album.take(page, "device-by-itself", "A device in a federation that runs by itself.", "You need do nothing.")
    page.goto(f"{home.url}/privacy")
    album.take(
        page,
        "device-privacy",
        "Privacy: what left this device, with a picture of the masked bytes that the servers hold now.",
        page.locator("img.masked").first,
    )
    page = album.open(world.main)
    page.goto(f"{world.main.url}/task")
    page.get_by_text("Change these rules").click()
    page.locator("#policy-k_min").fill(str(len(NAMES) - 1))
    page.get_by_role("button", name="Save").click()
    wait(lambda: world.main.get("/api/v1/policy")["k_min"] == len(NAMES) - 1, "the rule is changed")
    return number


def put_out(world: Federation, name: str) -> None:
    """The owner of the federation's root revokes a device."""
    revocation = revoke(world.folder / "federation", name, int(time.time()))
    for role in (world.main, world.aggregator):
        answer = httpx.post(role.url + REVOCATIONS_PATH, content=revocation.body, trust_env=False)
        answer.raise_for_status()


def main_server(album: Album, world: Federation, less: int) -> None:
    """The operator's pages; in round ``less`` a report was left out."""
    album.chapter("Main server")
    page, url = album.open(world.main), world.main.url
    album.take(
        page, "main-all-done", "All rounds are done: how good the model is, who is there.", "Accuracy and loss", BEST
    )
    for path, name, caption, shows in (
        ("/rounds", "main-rounds", "All rounds, with accuracy before and after.", "rounds"),
        (f"/rounds/{ROUNDS - 1}", "main-round", "One round: who took part, what came of it.", "What happened"),
        ("/models", "main-models", "All versions of the model; none is ever deleted.", "versions"),
        (f"/models/{ROUNDS - 1}", "main-model", "One version: lineage, note, figures.", "Where it comes from"),
        (
            f"/models/{ROUNDS - 2}/current",
            "main-go-back",
            "Going back to an earlier version asks once more.",
            "Go back to",
        ),
        ("/devices", "main-devices", "The devices, by state; one was put out.", "They take no part any more."),
        ("/task", "main-task", "The task: classes, training, and the policy of rounds.", "What is learned"),
        ("/log", "main-log", "The log, a chain that is recomputed while one looks.", "The chain holds together."),
        ("/libraries", "main-libraries", "Libraries of others, unmodified, with their licences.", "Libraries"),
    ):
        page.goto(url + path)
        album.take(page, name, caption, shows)
    page.goto(f"{url}/models/{ROUNDS - 1}?with=1")
    album.take(page, "main-compare", "Two versions side by side.", "Difference", part="#compare")
    page.goto(f"{url}/rounds/{less}")
    album.take(page, "main-left-out", "A report that does not count, and why.", "is not a member any more")


def aggregator(album: Album, world: Federation) -> None:
    """The aggregator's pages."""
    album.chapter("Secure aggregator")
    page, url = album.open(world.aggregator), world.aggregator.url
    album.take(page, "aggregator-between-rounds", "Between two rounds it holds nothing.", "No report", part="#holds")
    for path, name, caption, shows in (
        ("/rounds", "aggregator-rounds", "All rounds, with what became of the reports.", "In the sum"),
        ("/log", "aggregator-log", "Its log, a chain as the main server's.", "The chain holds together."),
        ("/send_model_secagg", "aggregator-step", "The page of a step.", "Release"),
    ):
        page.goto(url + path)
        album.take(page, name, caption, shows)
    page.goto(f"{url}/rounds")
    album.take(
        page,
        "aggregator-left-out",
        "Whose report was left out of a sum, and why.",
        "is not a member any more",
        part="#refused",
    )


def device(album: Album, home: OwnerClient, new: list[Path]) -> None:
    """The pages of a device's owner."""
    album.chapter("Device")
    page = album.open(home)
    pictures(album, page, home.url, new)
    page.goto(home.url)
    album.take(page, "device-overview", "The start page: one thing to do now.", "The model, here", BEST)
    page.goto(f"{home.url}/learning")
    album.take(
        page,
        "device-learning",
        "Learning: before and after, on this device's own test pictures.",
        "Before and after",
        BEST,
    )
    album.take(
        page,
        "device-learning-classes",
        "Class by class, and what was taken for what.",
        "What was taken for what",
        part="section:has(.confusion)",
    )
    album.take(
        page,
        "device-learning-course",
        "How the last training went.",
        page.locator("#course figure[data-drawn]"),
        part="#course",
    )
    cell = page.locator(".confusion .wrong a").first
    (cell if cell.count() else page.locator(".confusion .right a").first).click()
    album.take(
        page, "device-taken-for", "The pictures behind one number of the table.", page.locator(".gallery img").first
    )
    page.goto(f"{home.url}/learning/pictures?model=own&shows=0&named={_empty_cell(home)}")
    album.take(
        page, "device-taken-for-none", "A number whose pictures have changed since.", "No such picture is there now."
    )
    page.goto(f"{home.url}/learning")
    page.set_input_files("#try-picture", new[4])
    page.get_by_role("button", name="What is it?").click()
    page.wait_for_selector("#tried")
    album.take(
        page,
        "device-try-it",
        "Try it: a picture, the answers of both models, and where in it they look.",
        "What the model sees",
        part="#tried",
    )
    page.goto(f"{home.url}/learning")
    page.set_input_files("#try-picture", new[0].with_name("notes.txt"))
    page.get_by_role("button", name="What is it?").click()
    album.take(page, "device-try-refused", "What is no picture cannot be tried; it says why.", page.locator("#problem"))
    own_names(album, page, home.url, new[0].parent / "own")
    privacy(album, page, home)


def own_names(album: Album, page: Page, url: str, folder: Path) -> None:
    """A name that only this home knows, and six pictures of it."""
    page.goto(f"{url}/own")
    page.get_by_label("A new name").fill("Minka")
    page.get_by_role("button", name="Add the name").click()
    page.locator("#names td").first.wait_for()
    page.goto(f"{url}/pictures")
    page.set_input_files("#files", own_pictures(folder, 6))
    page.get_by_label("They show").select_option(label="Minka")
    page.get_by_role("button", name="Put in").click()
    page.get_by_text("6 pictures put in").first.wait_for()
    page.goto(f"{url}/own")
    caption = "Names that only this home knows: how well, and what would help."
    album.take(page, "device-own-names", caption, page.get_by_label("Share of Minka named rightly"), BEST)


def _empty_cell(home: OwnerClient) -> int:
    """A class for which no circle is taken."""
    own = home.get("/api/v1/learning")["local"]["metrics"]
    row: list[int] = own["confusion"][0]
    return row.index(0)


def privacy(album: Album, page: Page, home: OwnerClient) -> None:
    """What the owner allows, and their way out."""
    page.goto(f"{home.url}/privacy")
    album.take(page, "device-pause", "Pause: what happens to what.", "If you pause now", part="#pause")
    album.take(page, "device-leave", "Leave: what is deleted, and what is kept.", "What happens to what", part="#leave")
    page.locator("#k_min").fill("1")
    page.get_by_role("button", name="Keep these floors").click()
    album.take(
        page,
        "device-wrong-floor",
        "A floor that cannot be is told where it stands.",
        page.locator("#k-min-wrong"),
        part="#floors:has(.bad)",
    )
    page.goto(f"{home.url}/privacy")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("heading", name="Paused").wait_for()
    page.goto(home.url)
    album.take(page, "device-paused", "A paused device: nothing is sent.", "Paused.")
    page.goto(f"{home.url}/privacy")
    album.take(page, "device-go-on", "Where it goes on again.", page.get_by_role("button", name="Go on"), part="#pause")
    leave(page)
    page.locator("#leave").get_by_text("knows it").nth(1).wait_for()
    page.goto(home.url)
    album.take(page, "device-left", "A device that has left.", "This device has left the federation.")
    page.goto(f"{home.url}/privacy")
    album.take(page, "device-left-told", "Both servers know of it.", "knows it", part="#leave")


def revoked(album: Album, home: OwnerClient) -> None:
    """The device that was put out."""
    page = album.open(home)
    album.take(page, "device-revoked", "A device that was put out.", "was revoked")


def broken(album: Album, world: Federation) -> None:
    """Somebody has changed an entry of the main server's log."""
    with closing(sqlite3.connect(world.main.state / "state.sqlite3", timeout=60)) as file, file:
        file.execute("UPDATE log SET payload = x'00' WHERE seq = 3")
    page = album.open(world.main)
    page.goto(f"{world.main.url}/log?again=true")
    page.get_by_text("The chain is broken").first.wait_for()
    album.take(page, "main-log-broken", "Somebody has changed an entry of the log.", "The chain is broken")


def pictures(album: Album, page: Page, url: str, new: list[Path]) -> None:
    """The gallery with what an owner does in it."""
    page.goto(f"{url}/pictures?state=unlabelled")
    album.take(page, "device-pictures-all-labelled", "Nothing is left to be labelled.", "All pictures have a label.")
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
        page.locator("#added"),
    )
    page.goto(f"{url}/pictures?state=suggested")
    album.take(page, "device-not-suggested-yet", "No suggestions yet.", "No suggestions yet.")
    page.get_by_role("button", name="Suggest labels").click()
    page.get_by_role("button", name="Yes, right").first.wait_for(state="attached")
    page.goto(f"{url}/pictures?state=suggested")
    album.take(
        page, "device-pictures-suggested", "What the model suggests, least sure first.", "Is the model right?", BEST
    )
    page.goto(f"{url}/pictures?state=unlabelled")
    album.take(
        page,
        "device-pictures-all-suggested",
        "Every picture has a suggestion.",
        "Every picture has a label or a suggestion.",
    )
    page.goto(f"{url}/pictures")
    album.take(page, "device-pictures", "All pictures, by state and class.", page.locator(".gallery img").first, BEST)
    page.locator("a.open").first.click()
    page.wait_for_load_state()
    album.take(page, "device-picture", "One picture by itself.", "What it shows")
    page.goto(f"{url}/pictures?problem=duplicates")
    album.take(page, "device-pictures-alike", "Pictures that look alike, in groups.", "alike")
