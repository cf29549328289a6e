"""A federation on its first day: every page that has nothing to show says what comes next."""

from __future__ import annotations

from pathlib import Path

from fanlight.services.main_server.task import Policy, Training
from scripts.screenshots.album import Album
from scripts.screenshots.federation import federation, wait


def no_devices(album: Album, folder: Path) -> None:
    """A main server alone, then with its aggregator."""
    album.chapter("Nothing there yet: the servers")
    with federation(folder, 0, Policy(), Training()) as world:
        world.start_main()
        page, url = album.open(world.main), world.main.url
        album.take(page, "empty-main", "No device has joined, and the secure aggregator is not connected.")
        for path, caption in (
            ("/rounds", "No round yet."),
            ("/models", "The first version of the model, which knows nothing."),
            ("/models/0", "The first version by itself: nothing is measured, nothing to compare."),
            ("/devices", "No device yet."),
            ("/log", "Nothing has been logged."),
        ):
            page.goto(url + path)
            album.take(page, f"empty-main{path.replace('/', '-')}", caption)
        world.start_aggregator()
        wait(lambda: world.main.get("/api/v1/status")["aggregator_connected"], "the aggregator is connected")
        page, url = album.open(world.aggregator), world.aggregator.url
        album.take(page, "empty-aggregator", "The aggregator waits for the first round.")
        for path, caption in (("/rounds", "The aggregator has seen no round."), ("/log", "It has logged nothing.")):
            page.goto(url + path)
            album.take(page, f"empty-aggregator{path.replace('/', '-')}", caption)


def no_pictures(album: Album, folder: Path) -> None:
    """A device whose folder is empty."""
    album.chapter("Nothing there yet: a device")
    with federation(folder, 1, Policy(), Training()) as world:
        world.start_main()
        world.start_aggregator()
        pictures = folder / "pictures"
        pictures.mkdir()
        home = world.start_device("Front door", pictures)
        wait(lambda: home.get("/api/v1/status")["model"], "the first model has come")
        page = album.open(home)
        album.take(page, "empty-device", "A device without pictures.")
        for path, name, caption in (
            ("/pictures", "empty-device-pictures", "Put your first pictures in."),
            ("/pictures?state=deleted", "empty-device-bin", "Nothing was deleted."),
            ("/pictures?state=suggested", "empty-device-suggested", "No suggestions."),
            ("/learning", "empty-device-learning", "Nothing was learned."),
            ("/privacy", "empty-device-privacy", "Nothing has left this device."),
            ("/modeltrain", "empty-device-train", "There is nothing to train with."),
        ):
            page.goto(home.url + path)
            album.take(page, name, caption)
