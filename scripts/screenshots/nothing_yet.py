"""A federation on its first day: every page that has nothing to show says what comes next."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from fanlight.learning.folders import UNLABELLED
from fanlight.services.main_server.policy import Policy
from scripts.screenshots.album import Album
from scripts.screenshots.by_hand import DEMO
from scripts.screenshots.federation import Federation, federation, new_pictures, prepared, wait


def no_devices(album: Album, folder: Path) -> None:
    """A main server alone, then with its aggregator."""
    album.chapter("Nothing there yet: the servers")
    with federation(folder, 0, Policy()) as world:
        world.start_main()
        page, url = album.open(world.main), world.main.url
        album.take(
            page,
            "empty-main",
            "No device has joined, and the secure aggregator is not connected.",
            "The secure aggregator is not connected.",
        )
        album.take(page, "empty-main-progress", "Nothing was measured.", "No line to draw yet.", part="#progress")
        album.take(page, "empty-main-timeline", "Nobody is there.", "No device has joined yet.", part="#timeline")
        album.take(page, "empty-main-last", "No round has run.", "No round yet.", part="#rounds")
        for path, caption, shows in (
            ("/rounds", "No round yet.", "No round yet."),
            ("/models", "The first version of the model, which knows nothing.", "1 version"),
            ("/models/0", "The first version by itself: nothing is measured, nothing to compare.", "Not measured yet."),
            ("/devices", "No device yet.", "No device has joined yet."),
            ("/task", "The task on the first day: nobody has proposed a class.", "No class has been proposed."),
            ("/studies", "No study yet; the form begins with what the federation does.", "No study yet."),
            ("/log", "Nothing has been logged.", "Nothing has been logged yet."),
        ):
            page.goto(url + path)
            album.take(page, f"empty-main{path.replace('/', '-')}", caption, shows)
        world.start_aggregator()
        wait(lambda: world.main.get("/api/v1/status")["aggregator_connected"], "the aggregator is connected")
        page.goto(url)
        album.take(
            page, "empty-main-connected", "Both servers are there, and wait for devices.", "Waiting for devices."
        )
        page, url = album.open(world.aggregator), world.aggregator.url
        album.take(
            page, "empty-aggregator", "The aggregator waits for the first round.", "Waiting for the first round."
        )
        album.take(page, "empty-aggregator-last", "It has seen no round.", "No round yet.", part="#rounds")
        for path, caption, shows in (
            ("/rounds", "The aggregator has seen no round, and refused nothing.", "None in these rounds."),
            ("/log", "It has logged nothing.", "Nothing has been logged yet."),
        ):
            page.goto(url + path)
            album.take(page, f"empty-aggregator{path.replace('/', '-')}", caption, shows)


def no_pictures(album: Album, folder: Path) -> None:
    """A device whose folder is empty, before and after a server answers it; then with pictures that teach nothing."""
    album.chapter("Nothing there yet: a device")
    with federation(folder, 2, Policy()) as world:
        pictures = folder / "pictures"
        pictures.mkdir()
        home = world.start_device("Front door", pictures)
        page, url = album.open(home), home.url
        album.take(page, "empty-device-no-model", "A device that no server has answered yet.", "There is no model yet.")
        page.goto(f"{url}/learning")
        album.take(page, "empty-device-no-model-learning", "Nothing to try without a model.", "There is no model yet.")
        world.start_main()
        world.start_aggregator()
        wait(lambda: home.get("/api/v1/status")["model"], "the first model has come")
        for path, name, caption, shows in (
            ("/", "empty-device", "A device without pictures.", "Put your first pictures in."),
            ("/pictures", "empty-device-pictures", "Put your first pictures in.", "There are no pictures yet."),
            ("/pictures?state=deleted", "empty-device-bin", "Nothing was deleted.", "The bin is empty."),
            ("/pictures?problem=duplicates", "empty-device-alike", "None alike.", "No two pictures look alike."),
            ("/own", "empty-device-own", "No name is this home's own yet.", "Your own cat, your car, your family."),
            ("/learning", "empty-device-learning", "Nothing was learned.", "Nothing was measured yet."),
            ("/privacy", "empty-device-privacy", "Nothing has left this device.", "Nothing yet."),
            ("/privacy/sent", "empty-device-list", "A list by itself, with nothing in it.", "There is nothing yet."),
            ("/modeltrain", "empty-device-train", "There is nothing to train with.", "Put pictures in"),
        ):
            page.goto(url + path)
            album.take(page, name, caption, shows)
        page.goto(url)
        for shows, name, caption in (
            ("not measured yet.", "empty-device-not-measured", "The model is there; how good it is, nobody knows yet."),
            ("This device has not taken part", "empty-device-rounds", "No round yet."),
            ("Nothing yet.", "empty-device-sent", "Nothing was sent."),
        ):
            album.take(page, name, caption, shows, part=f".card:has-text('{shows}')")
        page.goto(f"{url}/privacy")
        album.take(page, "empty-device-refused", "Nothing was refused.", "No round was refused.", part="#refused")
        not_labelled(album, page, url, new_pictures(folder / "new", 2))
        being_read(album, world, folder / "card")


def nothing_learned(album: Album, folder: Path) -> None:
    """A head that is solved where too few homes have pictures of the classes."""
    album.chapter("Nothing learned")
    with federation(
        folder, 2, Policy(demo=True, k_min=2, by_itself=True, rounds=1, min_class_supporters=3), head="analytic"
    ) as world:
        world.start_main()
        world.start_aggregator()
        for name, home in zip(("Front door", "Garden"), prepared(folder / "pictures", 2), strict=True):
            world.start_device(name, home, DEMO)
        wait(lambda: world.main.get("/api/v1/status")["held_back"], "the first version is made")
        page = album.open(world.main)
        album.take(page, "main-held-back", "Too few homes have pictures of the classes.", "Nothing was learned in")


GALLERY = ".gallery-card"


def not_labelled(album: Album, page: Page, url: str, new: list[Path]) -> None:
    """Pictures without labels, and what becomes of them."""

    def seen(query: str, name: str, caption: str, shows: str, part: str = GALLERY) -> None:
        page.goto(f"{url}/pictures{query}")
        album.take(page, f"empty-device-{name}", caption, shows, part=part)

    page.goto(f"{url}/pictures")
    page.set_input_files("#files", new)
    page.get_by_role("button", name="Put in", exact=True).click()
    page.locator("#added").wait_for()
    page.goto(url)
    album.take(
        page, "empty-device-say", "Pictures are there; nobody has said what they show.", "Say what your pictures show."
    )
    seen("", "labels", "The first labels are given by hand.", "Say what your first pictures show.", "html")
    seen("?state=labelled", "none-labelled", "No picture has a label.", "No picture has a label yet.")
    seen("?label=star", "no-star", "No picture has this label.", "No picture has this label.")
    seen("?problem=tiny", "none-tiny", "No picture has this fault.", "No picture is like that.")
    seen("?state=not_usable", "none-unusable", "Every picture can be used.", "No picture is marked as not usable.")
    seen("?state=suggested", "suggested", "A model that knows nothing suggests nothing.", "No suggestions yet.")
    changed(page, url, "star")
    page.goto(url)
    album.take(page, "empty-device-few", "Of some classes there are too few pictures.", "More pictures would help.")
    changed(page, url, "Not usable")
    seen(
        "?state=unlabelled",
        "none-waiting",
        "No picture is left that could get a label.",
        "No picture waits for a label.",
    )
    seen("?state=suggested", "no-suggestions", "Nothing that a suggestion could be made for.", "No suggestions.")
    changed(page, url, "Delete")
    seen("", "all-deleted", "All pictures are in the bin.", "No pictures are left.", "html")


def changed(page: Page, url: str, button: str) -> None:
    """Choose all pictures, and press a button."""
    page.goto(f"{url}/pictures")
    page.get_by_role("button", name="All", exact=True).click()
    page.locator(".toolbar").get_by_role("button", name=button, exact=True).click()
    page.locator("#told .note").wait_for()


def being_read(album: Album, world: Federation, card: Path) -> None:
    """A device that starts with a camera's whole card."""
    for picture in new_pictures(card / UNLABELLED, 15):
        Image.open(picture).resize((4000, 3000)).save(picture.with_suffix(".jpg"))
        picture.unlink()
    home = world.start_device("Garden", card)
    page = album.open(home)
    page.goto(f"{home.url}/pictures")
    album.take(page, "device-reading", "Many pictures are being read.", "The pictures are being read.")
