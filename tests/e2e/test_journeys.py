"""What people do with the pages, by clicking alone: from two empty devices to a better model, and back again.

Four processes, and a browser session at each: the operators of both servers, the owners of two devices. They know
nothing but the login links that their terminals show, and follow what the pages say.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from fanlight.learning.datasets import shapes
from fanlight.learning.datasets.chance import Chance
from tests.e2e.browser import PHONE, WINDOWS, visit
from tests.e2e.terminals import LIMIT_S, Terminals, free_ports

FIRST_OF_ALL = "Put your first pictures in."
FIRST = 6
"""Pictures of each class that each device starts with."""
NEW = 30
KNOWN = shapes.CLASSES[:-1]
"""What the devices learn first; pictures of the last class come with the new ones."""
ODD = "box with round corners"
"""What the owner calls square, and every model a circle."""


@dataclass(frozen=True)
class Person:
    """Somebody at a browser: with a finger on a phone, with a mouse at a desk.

    Attributes:
        page: the tab. wrong: what went wrong in it.
    """

    page: Page
    wrong: list[str]
    touch: bool

    def press(self, what: Locator) -> None:
        """Tap or click."""
        if self.touch:
            what.tap()
        else:
            what.click()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    def go(self, name: str) -> None:
        """To one of the pages that the top of every page names."""
        self.press(self.page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True))
        expect(self.page.get_by_role("navigation", name="Pages").locator("[aria-current]")).to_have_text(name)
        self.fits()

    def fits(self) -> None:
        """Nothing is wider than the window, once all of the page is there."""
        self.page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")

    def see(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.get_by_role("main")).to_contain_text(text)

    def step(self, page: str, button: str) -> None:
        """Perform a step on its page, once that offers it, and wait until it is done."""
        self.go(page)
        expect(self.button(button)).to_be_enabled()
        with self.page.expect_response(lambda answer: answer.request.method == "POST"):  # "Done." may be of before
            self.press(self.button(button))
        expect(self.page.get_by_text("Done.")).to_be_visible()

    def cannot(self, page: str, button: str, why: str, next_step: str) -> None:
        """The page of a step that is not possible says why, and what to do."""
        self.go(page)
        expect(self.button(button)).to_be_disabled()
        expect(self.button(button)).to_have_accessible_description(re.compile(why))
        expect(self.page.locator(".then, .why .next").filter(has_text=next_step).first).to_be_visible()


@dataclass(frozen=True)
class People:
    """The four of them."""

    main: Person
    aggregator: Person
    first: Person
    second: Person

    def all(self) -> tuple[Person, ...]:
        return self.main, self.aggregator, self.first, self.second


@contextmanager
def federation(folder: Path) -> Iterator[dict[str, str]]:
    """Two servers and two devices without pictures, each a process; the login links that their terminals show."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("FANLIGHT_")}
    terminals = Terminals(folder, {**usual, "XDG_CACHE_HOME": str(folder / "cache"), "no_proxy": "localhost"})
    fanlight = f"{sys.executable} -m fanlight"
    main, aggregator, *devices = free_ports(4)
    addresses = f"--main-url http://localhost:{main} --aggregator-url http://localhost:{aggregator}"
    made = f"{fanlight} federation init federation --dataset shapes --demo {addresses}"
    try:
        logs = {
            "main": terminals.start(f"{made} && exec {fanlight} server --state federation/main --port {main}", main),
            "aggregator": terminals.start(
                f"exec {fanlight} aggregator --state federation/aggregator --port {aggregator}", aggregator
            ),
        }
        for name, port in zip(("first", "second"), devices, strict=True):
            (folder / f"{name}-pictures").mkdir()
            token = f"{fanlight} federation token federation --name {name} --out {name}.json"
            options = f"--token {name}.json --data {name}-pictures --state {name} --port {port} --accept-demo"
            logs[name] = terminals.start(f"{token} && exec {fanlight} device {options}", port)
        yield {name: login_link(log) for name, log in logs.items()}
    finally:
        written = terminals.close()
    assert not [log for log in written if "Traceback" in log]


def login_link(log: Path) -> str:
    found = re.search(r"http://\S+/login\?token=\S+", log.read_text())
    assert found, log.read_text()
    return found[0]


@contextmanager
def people(browser: Browser, links: dict[str, str], window: ViewportSize) -> Iterator[People]:
    """All logged in, each in a session of their own; nothing may have gone wrong in any of them."""
    touch = window is PHONE
    with ExitStack() as stack:
        found = {}
        for name, link in links.items():
            context = stack.enter_context(browser.new_context(viewport=window, has_touch=touch, is_mobile=touch))
            found[name] = Person(*visit(context), touch)
            found[name].page.goto(link)
        yield People(**found)
        for person in found.values():
            assert not person.wrong


@pytest.mark.timeout(3 * LIMIT_S)
@pytest.mark.parametrize("window", ["phone", pytest.param("desk", marks=pytest.mark.long)])
def test_from_empty_devices_to_a_better_model_and_back(whole_browser: Browser, tmp_path: Path, window: str) -> None:
    with federation(tmp_path) as links, people(whole_browser, links, WINDOWS[window]) as them:
        nothing_can_be_done_yet(them)
        for number, owner in enumerate((them.first, them.second)):
            put_in_labelled(owner, tmp_path / "first", number)
        seven_steps(them, version=1)
        label_thirty(them.first, tmp_path / "new")
        seven_steps(them, version=2)
        assert accuracy(them.first, version=2) > accuracy(them.first, version=1)
        them.first.see("better than version 1")
        roll_back(them)


def nothing_can_be_done_yet(them: People) -> None:
    """Neither steps nor learning: but each page says what is missing."""
    owner = them.first
    owner.cannot("Train", "Model Training (Locally)", "There are no training pictures", FIRST_OF_ALL)
    owner.cannot("Announce", "Send Status to Main Server", "Nothing has been trained|cannot announce", FIRST_OF_ALL)
    owner.cannot("Send", "Send Model to Federated Server", "Nothing has been trained|cannot send", FIRST_OF_ALL)
    them.aggregator.cannot("Aggregate", "Aggregate Local Models", "holds 0 of the 2 reports", "Let more devices send")
    them.aggregator.cannot("Release", "Send Aggregated Model to Main Server", "not aggregated yet", "Aggregate")
    them.main.cannot("Aggregate", "Aggregate Local Models", "0 of the 2 reports", "Let more devices send")
    them.main.cannot("Publish", "Send Aggregated Models to Federated Clients", "open", "Aggregate")


def put_in_labelled(owner: Person, folder: Path, seed: int) -> None:
    """Class after class, saying at once what they show."""
    owner.go("Overview")
    owner.see(FIRST_OF_ALL)
    owner.press(owner.page.get_by_role("main").get_by_role("link", name="Put pictures in").first)
    for name in KNOWN:
        owner.page.get_by_label("Pictures, or a ZIP file of them").set_input_files(draw(folder, name, FIRST, seed))
        owner.page.get_by_label("They show").select_option(name)
        owner.press(owner.button("Put in"))
        owner.see(f"{FIRST} pictures put in")
        expect(owner.page.get_by_role("link", name=f"{name} {FIRST}", exact=True)).to_be_visible()
    owner.fits()


def draw(folder: Path, name: str, count: int, seed: int, called: str = "") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    chance = Chance(f"journey-{folder.name}-{called or name}", seed)
    paths = [folder / f"{called or name} {number}.png" for number in range(1, count + 1)]
    for path in paths:
        Image.fromarray(shapes.draw(name, chance)).save(path)
    return paths


def seven_steps(them: People, version: int) -> None:
    """A round from training to measuring, each step with the button that the pages offer for it."""
    follow_the_guide(them.first)
    them.second.step("Train", "Model Training (Locally)")
    them.second.step("Announce", "Send Status to Main Server")
    them.second.step("Send", "Send Model to Federated Server")
    do_what_is_named(them.aggregator, "Aggregate", "Release the sum")
    them.aggregator.see("The main server has the sum.")
    do_what_is_named(them.main, "Publish")
    expect(them.main.page.get_by_role("link", name=f"version {version}", exact=True)).to_be_visible()
    them.first.go("Overview")
    them.first.see(f"Version {version} is here")
    them.first.see(f"of your test pictures are named rightly by version {version} of the model")
    do_what_is_named(them.main, "Measure")
    them.main.see(re.compile(r"Accuracy\s*[\d.]+\s%\s*The version before\s*[\d.]+\s%"))
    them.main.press(them.main.page.get_by_role("link", name=f"version {version}", exact=True))
    expect(them.main.page.get_by_role("heading", level=1)).to_have_text(f"Version {version}")
    them.main.go("Models")
    expect(them.main.page.get_by_label(f"Accuracy of version {version}")).to_be_visible()


def follow_the_guide(owner: Person) -> None:
    """Do what the start page names as the one thing to do now, until it says to wait."""
    for thing in ("Train", "Announce", "Send"):
        owner.go("Overview")
        owner.press(owner.page.get_by_role("main").get_by_role("button", name=re.compile(f"^{thing}( again)?$")))
        owner.see("Done.")
    owner.go("Overview")
    owner.see("Sent. Now wait for the others.")


def do_what_is_named(operator: Person, first: str, *further: str) -> None:
    """The one thing to do now: from the start page, then from page to page, as each names the next one."""
    operator.go("Overview")
    for name in (first, *(f"Next: {thing}" for thing in further)):
        operator.press(
            operator.page.get_by_role("main").locator(".now-act").get_by_role("button", name=name, exact=True)
        )
        operator.see("Done.")
        operator.fits()


def accuracy(owner: Person, version: int) -> float:
    """What the page of a device says of a version, in percent, once it has that: each on the same test pictures."""
    owner.go("Learning")
    said = re.compile(rf"Version {version}\s+([\d.]+)\s%")
    owner.see(said)
    found = said.search(owner.page.get_by_role("main").inner_text())
    assert found
    return float(found[1])


def label_thirty(owner: Person, folder: Path) -> None:
    """New pictures without a label: the model suggests, the owner says yes to most and corrects two."""
    odd = draw(folder, "circle", 2, seed=2, called=ODD)
    usual = [path for name in shapes.CLASSES for path in draw(folder, name, (NEW - len(odd)) // 4, seed=2)]
    owner.go("Pictures")
    owner.page.get_by_label("Pictures, or a ZIP file of them").set_input_files([*usual, *odd])
    owner.press(owner.button("Put in"))
    owner.see(f"{NEW} pictures put in")
    owner.press(owner.button("Suggest labels"))
    expect(boxes(owner, "suggested: ")).to_have_count(NEW)
    owner.fits()
    right = boxes(owner, rf"({'|'.join(shapes.CLASSES)}) \d+\.png, suggested: \1")
    wrong = NEW - right.count()
    assert wrong >= len(odd)
    confirm(owner, right)
    owner.see(f"{pictures(NEW - wrong)} confirmed.")
    expect(boxes(owner, "suggested: ")).to_have_count(wrong)
    for number, name in enumerate(shapes.CLASSES, start=1):
        correct(owner, boxes(owner, f"{name} |{ODD} " if name == "square" else f"{name} "), name, str(number))
    owner.see("No suggestions.")
    expect(owner.page.get_by_role("link", name=re.compile("^square"))).to_contain_text(str(FIRST + NEW // 4 + len(odd)))


def pictures(number: int) -> str:
    return "1 picture" if number == 1 else f"{number} pictures"


def boxes(owner: Person, name: str) -> Locator:
    """The pictures shown whose name, and what is said of them, begin so."""
    return owner.page.get_by_role("checkbox", name=re.compile(name))


def confirm(owner: Person, right: Locator) -> None:
    """With fingers: one after the other.  With keys and mouse: all, without those that are wrong."""
    if owner.touch:
        for box in right.all():
            box.tap()
        owner.press(owner.page.get_by_role("group", name="With the chosen").get_by_role("button", name="Yes, right"))
        return
    kept = {box.get_attribute("value") for box in right.all()}
    owner.page.keyboard.press("a")
    for box in boxes(owner, "suggested: ").all():
        if box.get_attribute("value") not in kept:
            box.click()
    owner.page.keyboard.press("y")


def correct(owner: Person, wrong: Locator, name: str, key: str) -> None:
    """Choose with fingers or with keys, and say what they show."""
    count = wrong.count()
    if count == 0:
        return
    if owner.touch:
        for box in wrong.all():
            box.tap()
        owner.press(owner.page.get_by_role("group", name="With the chosen").get_by_role("button", name=name))
    else:
        for box in wrong.all():
            box.focus()
            owner.page.keyboard.press("Space")
        owner.page.keyboard.press(key)
    owner.see(f"{pictures(count)} labelled “{name}”.")


def roll_back(them: People) -> None:
    """To the first version, while the next round is open; the devices then hold that."""
    them.main.go("Overview")
    them.main.see(re.compile(r"Round \d+ is open"))
    them.main.go("Models")
    them.main.press(them.main.page.locator("a[href='/models/1/current']"))
    expect(them.main.page.get_by_role("heading", level=1)).to_have_text("Go back to version 1?")
    them.main.see("nobody has sent anything yet")
    them.main.press(them.main.button("Go back to version 1"))
    them.main.see("Devices fetch this version.")
    for owner in (them.first, them.second):
        for page in ("Overview", "Learning"):
            owner.go(page)
            owner.see("The operator went back to version 1.")
