"""The ways in which pictures come in, and are chosen, by the browser's own events: choosers, drops, paste, Shift."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from fanlight.learning.datasets import shapes
from fanlight.services.device.library.records import State
from fanlight.services.device.role import DeviceRole
from tests.e2e.browser import DESK, PHONE, too_wide, violations, visit
from tests.e2e.test_pages import Served, logged_in
from tests.e2e.trained_device import draw, labels, opened

PASTE = """names => {
  const bag = new DataTransfer();
  for (const [name, text] of names)
    bag.items.add(new File([Uint8Array.from(atob(text), one => one.charCodeAt(0))], name, { type: "image/png" }));
  const event = new ClipboardEvent("paste", { clipboardData: bag, bubbles: true, cancelable: true });
  return document.body.dispatchEvent(event);
}"""


def choose(page: Page, chooser: Locator, files: list[Path]) -> None:
    """As a person does: open the browser's dialogue, pick files in it."""
    with page.expect_file_chooser() as opened_one:
        chooser.click()
    opened_one.value.set_files(files)


def drop(page: Page, paths: list[Path]) -> None:
    """Files and folders, dragged from outside and let go over the page."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 300, "data": data})


def unlabelled(role: DeviceRole) -> int:
    return role.library.counts().states[State.UNLABELLED]


def test_choosers_take_several_files_a_zip_and_the_camera(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    several, zipped, taken = (draw(tmp_path / name, "star", 3, name) for name in ("several", "zipped", "camera"))
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as file:
        for path in zipped:
            file.write(path, f"holiday/{path.name}")
    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        files = page.get_by_label("Pictures, or a ZIP file of them")
        choose(page, files, several)
        page.get_by_role("button", name="Put in", exact=True).click()
        expect(page.locator("#added")).to_contain_text("3 pictures put in.")
        assert unlabelled(role) == 3
        choose(page, files, [tmp_path / "some.zip"])
        page.get_by_role("button", name="Put in", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("6 pictures wait for a label.")
        assert unlabelled(role) == 6
        choose(page, page.get_by_text("Camera", exact=True), taken[:1])
        expect(page.locator("#added")).to_contain_text("1 picture put in.")
        assert unlabelled(role) == 7
        assert not wrong


def test_files_and_a_folder_are_dropped(browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path) -> None:
    server, role = device
    files = draw(tmp_path / "files", "square", 2, "loose-")
    draw(tmp_path / "holiday" / "star", "star", 105, "deep-")  # more than a folder's reader gives at once
    draw(tmp_path / "holiday" / "elsewhere", "square", 1, "deep-")
    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        drop(page, [*files, tmp_path / "holiday"])
        expect(page.get_by_text("Folders are named like classes: ")).to_contain_text("star (105)")
        page.get_by_role("button", name="Yes, label them so").click()
        expect(page.locator("#added")).to_contain_text("108 pictures put in")
        assert labels(role)["star"] == 10 + 105
        assert unlabelled(role) == 3
        assert not wrong


def test_pictures_are_pasted(browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path) -> None:
    server, role = device
    some = [
        [path.name, base64.b64encode(path.read_bytes()).decode()] for path in draw(tmp_path / "new", "star", 2, "p")
    ]
    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        assert page.evaluate(PASTE, []), "what holds no files is the browser's"
        assert not page.evaluate(PASTE, some), "the page takes it"
        expect(page.locator("#added")).to_contain_text("2 pictures put in.")
        assert unlabelled(role) == 2
        assert not wrong


def test_shift_takes_everything_in_between(browser: Browser, device: tuple[Served, DeviceRole]) -> None:
    server, role = device
    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures?state=labelled&label={shapes.CLASSES[0]}")
        tiles = page.locator(".tile-picture label")
        boxes = page.locator(".tile-picture input[type=checkbox]")
        tiles.nth(2).click()
        tiles.nth(5).click(modifiers=["Shift"])
        expect(page.get_by_text("4 chosen")).to_be_visible()
        assert [box.is_checked() for box in boxes.all()] == [2 <= place <= 5 for place in range(10)]
        tiles.nth(4).click(modifiers=["Shift"])  # and back: those two are left out again
        expect(page.get_by_text("2 chosen")).to_be_visible()
        boxes.nth(7).focus()
        page.keyboard.press("Shift+ArrowRight")
        expect(page.get_by_text("4 chosen")).to_be_visible()
        page.keyboard.press("2")
        expect(page.get_by_text("4 pictures labelled “square”.")).to_be_visible()
        assert [labels(role)[name] for name in shapes.CLASSES[:2]] == [6, 14]
        assert not wrong


def test_what_is_put_in_meanwhile_waits_for_its_turn(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    held: list[Route] = []
    some = [
        [path.name, base64.b64encode(path.read_bytes()).decode()] for path in draw(tmp_path / "pasted", "star", 2, "p")
    ]
    draw(tmp_path / "holiday" / "circle", "circle", 3, "deep-")

    def hold_the_first(route: Route) -> None:
        held.append(route)
        if len(held) > 1:
            route.continue_()

    with logged_in(browser, server, DESK) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.route("**/pictures/add", hold_the_first)
        panel = page.get_by_role("group", name="What is being put in")
        page.set_input_files("#files", draw(tmp_path / "chosen", "square", 4, "c"))
        put_in = page.get_by_role("button", name="Put in", exact=True)
        put_in.click()
        expect(panel).to_contain_text("0 of 4 files")
        put_in.click()  # once more, as impatient people do
        drop(page, [tmp_path / "holiday"])
        expect(panel).to_contain_text("3 more files wait: sent after these.")
        held[0].continue_()
        expect(panel).to_contain_text("Folders are named like classes: circle (3)")
        page.evaluate(PASTE, some)
        expect(panel).to_contain_text("2 more files wait: sent after these.")
        page.get_by_role("button", name="Yes, label them so").click()
        expect(page.locator("#added")).to_contain_text("9 pictures put in: 3 circle.")
        assert labels(role)["circle"] == 10 + 3
        assert unlabelled(role) == 6
        assert not wrong


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_folders_in_a_zip_label_their_pictures_by_one_button(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path, scripts: bool
) -> None:
    server, role = device
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for name in ("circle", "star"):
            for path in draw(tmp_path / name, name, 2, "z-"):
                file.write(path, f"photos/{name}/{path.name}")
    with logged_in(browser, server, DESK, scripts=scripts) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        page.set_input_files("#files", tmp_path / "photos.zip")
        page.get_by_role("button", name="Put in", exact=True).click()
        result = page.locator("#added")
        expect(result).to_contain_text("4 pictures put in.")
        expect(result).to_contain_text("Folders in the ZIP file are named like classes: 2 circle, 2 star.")
        assert not scripts or violations(page) == []
        result.get_by_role("button", name="Label them so").click()
        expect(page.locator("#told")).to_contain_text("4 pictures labelled.")
        assert (labels(role)["circle"], labels(role)["star"]) == (12, 12)
        expect(result).to_have_count(0)
        page.get_by_role("button", name="Undo: 4 pictures labelled").click()
        expect(page.locator("#told")).to_contain_text("Undone: 4 pictures labelled.")
        assert unlabelled(role) == 4
        assert not wrong


def test_a_file_that_was_moved_away_stops_no_other(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    new = draw(tmp_path / "new", "square", 4, "n")
    with logged_in(browser, server, DESK) as context:
        page, _wrong = opened(context, f"{server.url}/pictures")
        panel = page.get_by_role("group", name="What is being put in")
        page.set_input_files("#files", new)
        new[1].rename(tmp_path / "elsewhere.png")
        page.get_by_role("button", name="Put in", exact=True).click()
        expect(panel).to_contain_text("1 file was not sent; all others are in:")
        expect(panel.get_by_role("listitem")).to_contain_text(f"{new[1].name} cannot be read any more")
        assert unlabelled(role) == 3
        panel.get_by_role("link", name="Show what is in").click()
        expect(page.locator("#added")).to_contain_text("3 pictures put in.")


def test_a_file_that_is_too_large_stops_no_other(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    new = draw(tmp_path / "new", "square", 1, "n")
    for name, size in (("film.png", 64 * 2**20 + 1), ("all.zip", 2 * 2**30)):
        new.append(tmp_path / "new" / name)
        with new[-1].open("wb") as file:
            file.truncate(size)
    with logged_in(browser, server, DESK) as context:
        page, _wrong = opened(context, f"{server.url}/pictures")
        drop(page, new)
        panel = page.get_by_role("group", name="What is being put in")
        expect(panel).to_contain_text("2 files were not sent; all others are in:")
        assert panel.get_by_role("listitem").all_inner_texts() == [
            "film.png is too large: save it smaller, as JPEG.",
            "all.zip is too large: divide it into several.",
        ]
        assert unlabelled(role) == 1


def test_a_file_that_goes_while_it_is_sent_stops_no_other(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    new = draw(tmp_path / "new", "square", 3, "n")

    def move_one_away(route: Route) -> None:
        if new[0].exists():
            new[0].unlink()
            route.abort()
        else:
            route.continue_()

    with logged_in(browser, server, DESK) as context:
        page, _wrong = opened(context, f"{server.url}/pictures")
        page.route("**/pictures/add", move_one_away)
        page.set_input_files("#files", new)
        page.get_by_role("button", name="Put in", exact=True).click()
        panel = page.get_by_role("group", name="What is being put in")
        expect(panel).to_contain_text("1 file was not sent; all others are in:")
        expect(panel.get_by_role("listitem")).to_contain_text(f"{new[0].name} cannot be read any more")
        assert unlabelled(role) == 2


UNREADABLE = """const entryOf = DataTransferItem.prototype.webkitGetAsEntry;
DataTransferItem.prototype.webkitGetAsEntry = function () {
  const entry = entryOf.call(this);
  if (!entry.isFile) return entry;
  const kind = Object.getPrototypeOf(entry);  // of all files that are dropped; it has no name of its own
  const file = kind.file;
  kind.file = function (found, failed) {
    if (this.name === "lost.png") failed(new DOMException("", "NotReadableError"));
    else file.call(this, found, failed);
  };
  return entry;
};"""
"""A file of another person: these tests may run as root, from whom the system keeps no file."""


def test_what_cannot_be_read_in_a_dropped_folder_is_named(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    server, role = device
    draw(tmp_path / "holiday", "square", 2, "n")
    (tmp_path / "holiday" / "lost.png").write_bytes(b"secret")
    with logged_in(browser, server, DESK) as context:
        page, wrong = visit(context)
        page.add_init_script(UNREADABLE)
        page.goto(f"{server.url}/pictures")
        drop(page, [*draw(tmp_path / "loose", "square", 1, "l"), tmp_path / "holiday"])
        panel = page.get_by_role("group", name="What is being put in")
        expect(panel).to_contain_text("1 file was not sent; all others are in:")
        expect(panel.get_by_role("listitem")).to_have_text("holiday/lost.png cannot be read.")
        assert unlabelled(role) == 3
        assert not wrong


def test_no_comma_and_no_full_stop_begins_a_line(
    browser: Browser, device: tuple[Served, DeviceRole], tmp_path: Path
) -> None:
    """What is told of an upload, on a phone: names and reasons of all lengths with a mark behind them."""
    server, _role = device
    no_pictures = [tmp_path / f"{'name ' * length}.jpg" for length in range(1, 30)]
    for path in no_pictures:
        path.write_text("no picture")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as file:
        for name in shapes.CLASSES:
            for path in draw(tmp_path / "zipped", name, 2, "z"):
                file.write(path, f"{name}/{path.name}")
    with logged_in(browser, server, PHONE, touch=True) as context:
        page, wrong = opened(context, f"{server.url}/pictures")
        choose(page, page.get_by_label("Pictures, or a ZIP file of them"), [*no_pictures, tmp_path / "some.zip"])
        page.get_by_role("button", name="Put in", exact=True).tap()
        expect(page.locator("#added")).to_contain_text("8 pictures put in.")
        marks = page.locator("#added .with-mark")
        assert marks.count() > len(shapes.CLASSES)
        torn = "marks => marks.filter(mark => mark.getClientRects().length > 1).map(mark => mark.textContent)"
        assert marks.evaluate_all(torn) == []
        assert too_wide(page) <= 0
        assert not wrong
