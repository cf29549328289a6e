"""Studies at the main server: one that is finished, runs, waits, has failed, and several beside the live fleet."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from fanlight.cli.owner_client import OwnerClient
from scripts.screenshots.album import DESK, DESK_DARK, PHONE, Album
from scripts.screenshots.federation import wait

_BEST = (DESK, PHONE, DESK_DARK)
_LONG = 1000


def studies(album: Album, main: OwnerClient) -> None:
    """Start some as an operator does, and look at them."""
    album.chapter("Studies")
    page = album.open(main)
    page.goto(f"{main.url}/studies/compare")
    album.take(page, "main-study-nothing", "Nothing was chosen to be compared.", "Nothing to compare yet.")
    usual, asleep, cheated = (
        _finished(page, main, rounds=12, **more)
        for more in (
            {},
            {"world": "diurnal:16,share=0.33"},
            {"attack": "sign-flip", "attackers": 30},
        )
    )
    failed = _started(page, main, toml='partition = "key:colour"')
    wait(lambda: _one(main, failed)["state"] == "failed", "a study has failed")
    page.goto(f"{main.url}/studies")
    album.take(page, "main-studies", "Studies: what was simulated, and a form for the next one.", "4 studies", _BEST)
    page.locator("#study-rounds").fill("0")
    page.get_by_role("button", name="Start").click()
    album.take(
        page,
        "main-study-wrong",
        "What a study cannot have is told where it stands.",
        "Nothing was started.",
        part="#start",
    )
    page.goto(f"{main.url}/studies/{asleep}")
    album.take(page, "main-study", "What if a third of the devices sleep at night?", "How good the model got", _BEST)
    page.goto(f"{main.url}/studies/{failed}")
    album.take(page, "main-study-failed", "A study that has failed says why.", "This study has failed.")
    page.goto(f"{main.url}/studies/compare?study={usual}&study={asleep}&study={cheated}&fleet=true")
    album.take(
        page, "main-study-compare", "Three studies and the live fleet, side by side.", "Without the live fleet", _BEST
    )
    running, queued = (_started(page, main, rounds=_LONG, seed=seed) for seed in (1, 2))
    wait(lambda: _one(main, running)["rounds_done"] > 2, "some rounds are simulated")
    page.goto(f"{main.url}/studies/{running}")
    album.take(page, "main-study-running", "A study while it runs.", "Simulating.")
    page.goto(f"{main.url}/studies/{queued}")
    album.take(page, "main-study-queued", "Another one waits.", "Waiting until the others are done.")
    for number in (queued, running):
        main.post(f"/api/v1/studies/{number}/stop")


def _started(page: Page, main: OwnerClient, **typed: Any) -> int:
    page.goto(f"{main.url}/studies")
    page.locator("#start details").evaluate("details => { details.open = true; }")
    for name, value in ({"dataset": "digits", "partition": "dirichlet:0.1", "devices": 20} | typed).items():
        field = page.locator(f"#study-{name}")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(str(value))
        else:
            field.fill(str(value))
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(f"{main.url}/studies/*")
    return int(page.url.rpartition("/")[2])


def _finished(page: Page, main: OwnerClient, **typed: Any) -> int:
    number = _started(page, main, **typed)
    wait(lambda: _one(main, number)["state"] == "finished", f"study {number} is finished")
    return number


def _one(main: OwnerClient, number: int) -> dict[str, Any]:
    return main.get(f"/api/v1/studies/{number}")
