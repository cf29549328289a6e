"""The gallery in a real browser: put pictures in, choose and label them by keyboard, take back; with and without JS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from fanlight.learning.datasets import shapes
from fanlight.services.device.library.records import State
from fanlight.services.device.role import DeviceRole
from tests.e2e.browser import DESK, PHONE, WINDOWS, on_every_screen, too_wide, violations, visit
from tests.e2e.finger import Finger
from tests.e2e.test_pages import Served, logged_in
from tests.e2e.trained_device import draw, labels, opened, shows, trained_device
from tests.unit.device.joined import done


def test_pictures_are_put_in_labelled_by_keyboard_and_taken_back(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    new = draw(tmp_path / "new", "star", 3, "new-")
    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#files", new)
        page.get_by_role("button", name="Put in").click()
        shows(page, "3 pictures put in.")
        boxes = page.locator(".tile-picture input[type=checkbox]")
        expect(boxes).to_have_count(3)
        boxes.first.focus()
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
        expect(page.get_by_text("2 chosen")).to_be_visible()
        page.keyboard.press("4")
        expect(page.get_by_text("2 pictures labelled “star”. 1 to go.")).to_be_visible()
        assert labels(role)["star"] == 12
        page.keyboard.press("u")
        expect(page.get_by_text("Undone: 2 pictures labelled “star”.")).to_be_visible()
        assert labels(role)["star"] == 10
        boxes.first.focus()
        page.keyboard.press("x")
        expect(page.get_by_text("1 picture marked as not usable.")).to_be_visible()
        assert role.library.counts().states[State.NOT_USABLE] == 1
        assert not wrong


def test_one_goes_on_labelling_while_the_last_is_under_way(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        held.append(route)

    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#files", draw(tmp_path / "new", "square", 3, "new-"))
        page.get_by_role("button", name="Put in").click()
        boxes = page.locator(".tile-picture input[type=checkbox]")
        expect(boxes).to_have_count(3)
        page.route("**/pictures/change*", hold_the_first)
        for place, key in enumerate("12"):
            boxes.nth(place).focus()
            page.keyboard.press(key)
        expect(page.get_by_text("Nothing chosen")).to_be_visible()
        boxes.nth(2).check()
        held[0].continue_()
        expect(boxes).to_have_count(1)
        expect(boxes.first).to_be_checked()
        assert [labels(role)[name] for name in shapes.CLASSES[:2]] == [11, 11]
        assert not wrong


def test_folders_named_like_classes_label_their_pictures_if_the_owner_says_so(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    for name in ("Star", "circle", "elsewhere"):
        draw(tmp_path / "new" / name, name.lower() if name != "elsewhere" else "square", 2, "new-")
    with logged_in(browser, server) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#folder", tmp_path / "new")
        expect(page.get_by_text("Folders are named like classes: ")).to_contain_text("star (2)")
        page.get_by_role("button", name="Yes, label them so").click()
        result = page.locator("#added")
        expect(result).to_contain_text("6 pictures put in")
        expect(result).to_contain_text("2 have no label yet.")
        expect(result).to_contain_text("No class is called like their folder: 2 elsewhere")
        assert (labels(role)["star"], labels(role)["circle"], labels(role)["square"]) == (12, 12, 10)
        page.set_input_files("#folder", tmp_path / "new")
        page.get_by_role("button", name="No, without labels").click()
        expect(result).to_contain_text("6 pictures were there already.")
        assert not wrong


def test_more_files_than_one_request_takes_are_sent_in_several(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    (tmp_path / "new").mkdir()
    for number in range(1100):
        (tmp_path / "new" / f"{number}.png").write_bytes(b"no picture")
    new = draw(tmp_path / "good", "square", 90, "new-")
    requests: list[str] = []
    with logged_in(browser, server) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
        page.set_input_files("#files", [*sorted((tmp_path / "new").iterdir()), *new])
        page.get_by_role("button", name="Put in").click()
        expect(page.locator("#added")).to_contain_text("90 pictures put in.")
        expect(page.locator("#added")).to_contain_text("1,100 files were not taken:")
        assert len(requests) == 30
        assert role.library.counts().states[State.UNLABELLED] == 90
        assert not wrong


def test_an_upload_that_fails_or_is_stopped_says_what_is_in_and_goes_on(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    new = draw(tmp_path / "new", "square", 90, "new-")
    coming: list[Route] = []

    def third(route: Route) -> None:
        coming.append(route)
        if len(coming) == 3:
            route.abort()
        elif len(coming) != 4:
            route.continue_()

    with logged_in(browser, server) as context:
        page, _wrong = opened(context, f"{server.url}/pictures")
        page.route("**/pictures/add", third)
        page.set_input_files("#files", new)
        page.get_by_role("button", name="Put in").click()
        told = page.get_by_role("alert").filter(has_text="went through before")
        expect(told).to_contain_text("The device did not answer.")
        expect(told).to_contain_text("80 files of 90 went through before")
        assert role.library.counts().states[State.UNLABELLED] == 80
        page.get_by_role("button", name="Go on with the other 10").click()
        page.get_by_role("button", name="Stop").click()
        expect(told).to_contain_text("Stopped.")
        page.get_by_role("button", name="Go on with the other 10").click()
        expect(page.locator("#added")).to_contain_text("90 pictures put in.")


def test_a_wrong_label_is_corrected_where_it_is_found(browser: Browser, device: tuple[Served, DeviceRole]) -> None:
    server, role = device
    with logged_in(browser, server, PHONE) as context:
        page, wrong = opened(context, f"{server.url}/pictures?state=labelled&label=star")
        page.locator(".tile-picture label").first.dblclick()
        shows(page, "1 of 10")
        page.keyboard.press("ArrowRight")
        shows(page, "2 of 10")
        page.get_by_role("button", name="circle").click()
        shows(page, "1 picture labelled “circle”.")
        shows(page, "2 of 9")
        assert labels(role)["star"] == 9
        page.keyboard.press("u")
        shows(page, "Undone: 1 picture labelled “circle”.")
        shows(page, "2 of 10")
        assert labels(role)["star"] == 10
        page.get_by_role("button", name="Where does it see that?").click()
        expect(page.get_by_text("only 2 × 2 parts of one: too few to show where it looks").first).to_be_visible()
        page.goto(f"{server.url}/learning/pictures?model=own&shows=0&named=0")
        page.locator(".gallery a").first.click()
        shows(page, "What was taken for what")
        page.keyboard.press("Delete")
        shows(page, "1 picture deleted.")
        page.keyboard.press("Escape")
        expect(page.get_by_role("heading", name="rightly named so")).to_be_visible()
        assert not wrong


def test_the_bin_gives_back_and_is_emptied(browser: Browser, device: tuple[Served, DeviceRole]) -> None:
    server, role = device
    some = [picture.sha256 for picture in role.library.page().pictures[:3]]
    role.library.delete(some)
    with logged_in(browser, server, scripts=False) as context:
        page, _wrong = opened(context, f"{server.url}/pictures?state=deleted")
        page.locator(".tile-picture input[type=checkbox]").first.check()
        page.get_by_role("button", name="Restore").click()
        expect(page.get_by_text("1 picture put back.")).to_be_visible()
        page.get_by_text("Empty the bin").click()
        page.get_by_role("button", name="Delete 2 pictures for good").click()
        expect(page.get_by_text("2 files deleted for good.")).to_be_visible()
        expect(page.get_by_text("The bin is empty.")).to_be_visible()
    assert sum(role.library.counts().states.values()) == 38


def test_fingers_choose_hold_and_scroll(browser: Browser, device: tuple[Served, DeviceRole]) -> None:
    server, role = device
    with logged_in(browser, server, PHONE, touch=True) as context:
        page, wrong = opened(context, f"{server.url}/pictures?state=labelled&label=star")
        finger, tiles = Finger(page), page.locator(".tile-picture label")
        bar = page.get_by_role("group", name="With the chosen pictures")
        page.evaluate("scrollTo(0, 300)")
        finger.tap(tiles.nth(1))
        finger.down(tiles.nth(5))
        expect(page.get_by_text("5 chosen")).to_be_visible()
        finger.up()
        finger.tap(tiles.nth(0))
        expect(page.get_by_text("6 chosen")).to_be_visible()
        finger.tap(bar.get_by_role("button", name="circle"))
        expect(page.get_by_text("6 pictures labelled “circle”.")).to_be_visible()
        assert (labels(role)["star"], labels(role)["circle"]) == (4, 16)
        finger.tap(bar.get_by_role("button", name="Undo"))
        expect(page.get_by_text("Undone: 6 pictures labelled “circle”.")).to_be_visible()
        finger.down(tiles.nth(4))
        finger.move(-120)
        page.wait_for_function("() => scrollY > 300")
        finger.up()
        expect(page.get_by_text("Nothing chosen")).to_be_visible()
        assert not wrong


def test_a_finger_that_was_held_swallows_no_later_tap(browser: Browser, device: tuple[Served, DeviceRole]) -> None:
    server, role = device
    with logged_in(browser, server, PHONE, touch=True) as context:
        page, _wrong = opened(context, f"{server.url}/pictures?state=labelled&label=star")
        finger, tiles = Finger(page), page.locator(".tile-picture label")
        page.evaluate("scrollTo(0, 300)")
        finger.hold_without_click(tiles.nth(2), ms=1000)
        expect(page.get_by_text("1 chosen")).to_be_visible()
        finger.tap(page.get_by_role("group", name="With the chosen").get_by_role("button", name="circle"))
        expect(page.get_by_text("1 picture labelled “circle”.")).to_be_visible()
        assert labels(role)["star"] == 9


@pytest.mark.parametrize("window", WINDOWS)
def test_what_one_works_with_is_in_view(
    browser: Browser, device: tuple[Served, DeviceRole], window: str, tmp_path: Path
) -> None:
    server, _role = device
    with logged_in(browser, server, WINDOWS[window], touch=window == "phone") as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#files", draw(tmp_path / "new", "star", 30, "new-"))
        page.get_by_role("button", name="Put in").click()
        expect(page.get_by_text("30 pictures put in.")).to_be_in_viewport()
        bar = page.get_by_role("group", name="With the chosen pictures")
        boxes = page.locator(".tile-picture input[type=checkbox]")
        boxes.nth(20).focus()
        picture, open_it = (page.locator(f".tile-picture {part}").nth(20) for part in ("img", "a.open"))
        assert bottom(picture) <= top(open_it), "nothing covers the picture"
        assert bottom(boxes.nth(20)) <= top(bar)
        boxes.nth(20).check()
        for name in shapes.CLASSES:
            expect(bar.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
        bar.get_by_role("button", name="star").click()
        expect(page.get_by_text("1 picture labelled “star”. 29 to go.")).to_be_in_viewport(ratio=1)
        if window == "desk":
            bar.get_by_role("button", name="Delete").click()
            expect(page.get_by_text("Nothing chosen: tap or click pictures first.")).to_be_in_viewport(ratio=1)
        else:
            expect(bar.get_by_role("button", name="Delete")).to_be_hidden()  # the pictures have its room
        bar.get_by_role("button", name="Undo: 1 picture labelled “star”").click()
        expect(page.get_by_text("Undone: 1 picture labelled “star”.")).to_be_in_viewport(ratio=1)
        assert not wrong


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_said_of_a_device_that_is_away_lies_above_the_toolbar(
    browser: Browser, device: tuple[Served, DeviceRole], window: str
) -> None:
    with logged_in(browser, device[0], WINDOWS[window]) as context:
        page, _wrong = opened(context, f"{device[0].url}/pictures")
        page.locator(".tile-picture label").first.click()
        context.set_offline(True)
        expect(page.locator("#connection")).to_contain_text("Not connected.")
        page.get_by_role("button", name="Try now").click(trial=True)  # nothing lies over it


def top(of: Locator) -> float:
    box = of.bounding_box()
    assert box is not None
    return box["y"]


def bottom(of: Locator) -> float:
    box = of.bounding_box()
    assert box is not None
    return box["y"] + box["height"]


def test_all_of_it_works_without_scripts(browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path) -> None:
    server, role = device
    new = draw(tmp_path / "new", "circle", 2, "new-")
    with logged_in(browser, server, PHONE, scripts=False) as context:
        page, _wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#files", new)
        page.get_by_role("button", name="Put in").click()
        for box in page.locator(".tile-picture input[type=checkbox]").all():
            box.check()
        page.get_by_role("group", name="With the chosen pictures").get_by_role("button", name="circle").click()
        expect(page.get_by_text("2 pictures labelled “circle”.")).to_be_visible()
        assert labels(role)["circle"] == 12
        page.get_by_role("button", name="Undo").click()
        assert labels(role)["circle"] == 10
        page.goto(f"{server.url}/learning")
        page.set_input_files("#try-picture", new[0])
        page.get_by_role("button", name="What is it?").click()
        expect(page.get_by_text("This device's own model, trained from version 0")).to_be_visible()


DRAG = """async ([kind, place]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 80, height: 60 });
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const bag = new DataTransfer();
  bag.items.add(new File([blob], "<b>dropped.png", { type: "image/png" }));
  const event = new DragEvent(kind, { dataTransfer: bag, bubbles: true, cancelable: true });
  document.querySelector(place).dispatchEvent(event);
}"""


def test_a_dropped_picture_is_tried_at_once(browser: Browser, device: tuple[Served, DeviceRole]) -> None:
    server, _role = device
    with logged_in(browser, server) as context:
        page, wrong = opened(context, f"{server.url}/learning")
        said = "getComputedStyle(document.body, '::after').content"
        page.evaluate(DRAG, ["dragover", "h1"])
        assert "you see what the model makes of this picture" in page.evaluate(said), "wherever on the page"
        page.evaluate(DRAG, ["dragleave", "html"])
        assert page.evaluate(said) == "none"
        page.evaluate(DRAG, ["dragover", "h1"])
        page.evaluate(DRAG, ["drop", "h1"])
        assert page.evaluate(said) == "none"
        expect(page.get_by_role("heading", name="What the model sees in <b>dropped.png")).to_be_visible()
        assert not wrong


@pytest.fixture(scope="module")
def suggested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, DeviceRole]]:
    """A trained device with pictures of long names, for which its model has suggested labels."""
    with trained_device(tmp_path_factory.mktemp("suggested"), version=1) as (server, role):
        draw(role.settings.data / "_unlabelled", "square", 3, "W" * 120)
        done(role, role.library.suggest())
        yield server, role


WORDS_END = """one => {
  const range = document.createRange();
  range.selectNodeContents(one);
  return Math.max(...Array.from(range.getClientRects(), (box) => box.right));
}"""
"""Where the text in an element ends at the right: it may be wider than its box."""
WORDS_BEGIN = "one => one.getBoundingClientRect().left + parseFloat(getComputedStyle(one).paddingLeft)"


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_suggested_can_be_read(browser: Browser, suggested: tuple[Served, DeviceRole], window: str) -> None:
    server, role = suggested
    with logged_in(browser, server, WINDOWS[window]) as context:
        page, wrong = opened(context, f"{server.url}/pictures?state=suggested")
        names = page.locator(".tile-picture .right .name")
        assert names.count() == 3
        assert set(names.all_inner_texts()) <= set(role.library.classes)
        for name in names.all():
            assert name.evaluate("one => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight")
        for tile in page.locator(".tile-picture").all():
            said, open_it = tile.locator(".info .number"), tile.locator("a.open")
            assert said.evaluate("one => one.getClientRects().length === 1")
            assert said.evaluate(WORDS_END) <= open_it.evaluate(WORDS_BEGIN), "the two do not overlap"
        page.goto(f"{server.url}/pictures?state=labelled")
        for name in page.locator(".tile-picture .info .name").all():
            assert name.evaluate("one => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight")
        assert not wrong


@on_every_screen
def test_pages_fit_the_screen(browser: Browser, suggested: tuple[Served, DeviceRole], window: str, dark: bool) -> None:
    server, role = suggested
    with logged_in(browser, server, WINDOWS[window], dark=dark) as context:
        page, wrong = visit(context)
        for path in (
            "/pictures",
            "/pictures?state=suggested",
            "/pictures?state=deleted",
            "/pictures?problem=duplicates",
            f"/pictures/{role.library.page().pictures[0].sha256}",
            "/learning",
            "/learning/pictures?model=own&shows=0&named=0",
            "/learning/rounds",
            "/learning/problems",
            "/privacy/sent",
            "/privacy/refused",
        ):
            page.goto(server.url + path)
            assert too_wide(page) <= 0, path
            named = page.locator(".process").evaluate(
                "one => one.clientHeight / parseFloat(getComputedStyle(one).lineHeight)"
            )
            assert named < 3.5, "what this is takes two lines, its name the third"
            assert violations(page) == [], path
        assert not wrong
