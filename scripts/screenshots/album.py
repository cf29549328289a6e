"""Small WebP files of pages, the page of the documentation that shows them all, and a record of what each one says."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Error, Locator, Page, Route, ViewportSize

from fanlight.cli.owner_client import OwnerClient

Window = Literal["desk", "phone"]
Scheme = Literal["light", "dark"]
View = tuple[Window, Scheme]

DESK: Final[View] = ("desk", "light")
PHONE: Final[View] = ("phone", "light")
DESK_DARK: Final[View] = ("desk", "dark")

_SIZES: Final[dict[Window, ViewportSize]] = {
    "desk": {"width": 1280, "height": 800},
    "phone": {"width": 390, "height": 844},
}
_TALLEST: Final[dict[Window, int]] = {"desk": 1000, "phone": 844}
"""Pixels of a page that are shown; what is below is cut off. A phone shows what it has room for."""
LARGEST_BYTES: Final = 149_000
_ALIKE: Final = 8
"""Levels of red, green and blue by which two colours may differ and look the same."""
_MOST_COLOURS: Final = 20_000
"""Photographs have more; they are stored lossy."""
_QUALITY: Final = 48
_MARGIN: Final = 24
"""Pixels above a part that is shown, and below."""
_UNEXPECTED: Final = "Something went wrong here"
_SETTLED: Final = """async () => {
  for (const image of document.images) image.loading = "eager";
  const undrawn = () => document.querySelector("figure[data-chart]:not([data-drawn])") !== null;
  for (let turn = 0; turn < 40 && ([...document.images].some(image => !image.complete) || undrawn()); turn++)
    await new Promise(resolve => setTimeout(resolve, 50));
  await document.fonts.ready;
  await new Promise(resolve => setTimeout(resolve, 150));
}"""
_SCROLLED: Final = f"part => scrollTo(0, part.getBoundingClientRect().top + scrollY - {_MARGIN})"
_IN_SIGHT: Final = """(thing, [top, bottom]) => {
  const box = thing.getBoundingClientRect();
  return box.width > 0 && box.top >= top - 1 && Math.min(box.bottom, box.top + 24) <= bottom + 1;
}"""
_SAID: Final = """([top, bottom]) => [...document.querySelectorAll(".empty, .banner, .note, .job, #problem")]
  .filter(thing => {
    const box = thing.getBoundingClientRect();
    return box.width > 0 && box.bottom > top && box.top < bottom;
  })
  .map(thing => thing.innerText.replace(/\\s+/g, " ").trim())"""


@dataclass
class Album:
    """Takes pictures and remembers what they show.

    Args:
        browser: Chromium.
        folder: where the WebP files go.
    """

    browser: Browser
    folder: Path
    chapters: dict[str, list[Entry]] = field(default_factory=dict)
    _chapter: str = ""

    def chapter(self, title: str) -> None:
        """What comes next belongs together."""
        self._chapter = title
        self.chapters.setdefault(title, [])

    def open(self, role: OwnerClient) -> Page:
        """A tab in a browser of its own, in which the owner of ``role`` is logged in."""
        page = self.browser.new_context(viewport=_SIZES["desk"], locale="en-GB", timezone_id="UTC").new_page()
        page.set_default_timeout(60_000)
        page.goto(role.login_link())
        return page

    def take(
        self,
        page: Page,
        name: str,
        caption: str,
        shows: str | Locator,
        views: Sequence[View] = (DESK, PHONE),
        part: str = "html",
    ) -> None:
        """Save the page as it is now, once for each view.

        Args:
            page: what is photographed. It stands still meanwhile: what it asks its server for is answered afterwards.
            name: of the files.
            caption: what is to be seen, in a sentence.
            shows: a text of the part, or a thing on the page, that makes the caption true; it is in each picture.
            views: window and colours.
            part: all of the page, or only a part of it (a selector).

        Raises:
            AssertionError: what the picture is to show is not in it.
            Error: the part, or what it is to show, does not come.
        """
        shown = page.locator(part).first
        truth = _said(shown, shows) if isinstance(shows, str) else shows
        shown.wait_for()
        try:
            truth.wait_for()
        except Error as error:
            raise AssertionError(f"{name} does not show {shows!r}: {page.locator('main').inner_text()}") from error
        expected = isinstance(shows, str) and _UNEXPECTED in shows
        if page.get_by_text(_UNEXPECTED).count() and not expected:
            logs = "\n".join(log.read_text(errors="replace")[-5000:] for log in Path().rglob("*.log"))
            raise RuntimeError(f"{logs}\n{page.url} failed: {page.locator('main').inner_text()}")
        files: list[str] = []
        said: dict[str, None] = {}
        with _still(page):
            for window, scheme in views:
                files.append(f"{name}-{window}{'-dark' if scheme == 'dark' else ''}.webp")
                with _window(page, window):
                    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                    top, bottom = _framed(page, shown, truth, window, whole=part == "html")
                    assert truth.is_visible(), f"{files[-1]} does not show {shows!r} any more"
                    assert truth.evaluate(_IN_SIGHT, [top, bottom]), f"{files[-1]} cuts {shows!r} off"
                    said |= dict.fromkeys(page.evaluate(_SAID, [top, bottom]))
                    clip = {"x": 0, "y": top, "width": _SIZES[window]["width"], "height": bottom - top}
                    shot = page.screenshot(animations="disabled", clip=clip)  # type: ignore[arg-type]
                (self.folder / files[-1]).write_bytes(written(shot))
        page.emulate_media(color_scheme="light")
        entry = Entry(name, caption, tuple(files), urlsplit(page.url).path, tuple(said))
        self.chapters[self._chapter].append(entry)

    def remove_others(self) -> None:
        """Delete pictures of earlier runs that this one did not take."""
        taken = {file for entries in self.chapters.values() for entry in entries for file in entry.files}
        for path in self.folder.iterdir():
            if path.name not in taken:
                path.unlink()

    def record(self) -> str:
        """JSON: by name of a picture, the ``path`` of its page and what that ``says`` in boxes that are in sight."""
        found: dict[str, Any] = {
            entry.name: {"path": entry.path, "says": entry.says} for some in self.chapters.values() for entry in some
        }
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"

    def markdown(self) -> str:
        """The page that shows them all."""
        lines = [
            "# Screenshots",
            "",
            "All pages of the three roles, as a browser shows them at 1280 and at 390 pixels, light and dark. The",
            "shapes in them are drawn by Fanlight. `make screenshots` takes these pictures again and writes this page.",
        ]
        for title, entries in self.chapters.items():
            lines += ["", f"## {title}"]
            for entry in entries:
                lines += ["", entry.caption, ""]
                lines += [f"![{_plain(entry.caption)}: {_view(file)}](screenshots/{file})" for file in entry.files]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Entry:
    """One page in its state: what is to be seen, the files that show it, its path, and what it says in boxes."""

    name: str
    caption: str
    files: tuple[str, ...]
    path: str
    says: tuple[str, ...]


@contextmanager
def _still(page: Page) -> Iterator[None]:
    """What the page's scripts ask the server for waits until the ``with`` block ends: the page shows what it showed."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.resource_type == "fetch":
            held.append(route)
        else:
            route.fallback()

    page.route("**/*", hold)
    try:
        yield
    finally:
        page.unroute("**/*", hold)
        for route in held:
            with suppress(Error):  # the page has given it up meanwhile
                route.fallback()


@contextmanager
def _window(page: Page, window: Window) -> Iterator[None]:
    """A window at a desk, or a phone: with a finger instead of a mouse, as a browser on one has it."""
    page.set_viewport_size(_SIZES[window])
    if window == "desk":
        yield
        page.set_viewport_size(_SIZES["desk"])
        return
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})
    session.send("Emulation.setDeviceMetricsOverride", {**_SIZES[window], "deviceScaleFactor": 1, "mobile": True})
    yield
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    session.detach()
    page.set_viewport_size(_SIZES["desk"])


def _said(part: Locator, text: str) -> Locator:
    """Where it stands, letter by letter."""
    return part.get_by_text(re.compile(re.escape(text))).locator("visible=true").first


def _framed(page: Page, shown: Locator, truth: Locator, window: Window, *, whole: bool) -> tuple[int, int]:
    """Scroll to what is to be seen; the first and the last row of the window that belong into the picture."""
    page.evaluate(_SETTLED)
    size = _SIZES[window]
    tall = int(shown.evaluate("part => part.getBoundingClientRect().height")) + 2 * _MARGIN * (not whole)
    if window == "desk":  # as tall as the picture, so that bars at the bottom stand there
        page.set_viewport_size({"width": size["width"], "height": max(size["height"], min(tall, _TALLEST["desk"]))})
    shown.evaluate(_SCROLLED)
    height = min(tall, _TALLEST[window])
    if whole:
        height = max(size["height"], height)
    page.evaluate(_SETTLED)
    top = 0 if whole else max(0, int(shown.evaluate("part => part.getBoundingClientRect().top")) - _MARGIN)
    bottom = min(top + height, _TALLEST[window])
    if not truth.evaluate(_IN_SIGHT, [top, bottom]):
        truth.evaluate("thing => thing.scrollIntoView({block: 'center'})")
        page.evaluate(_SETTLED)
        top, bottom = 0, max(height, size["height"])
    return top, bottom


def written(png: bytes) -> bytes:
    """The same picture as WebP: exact in few colours, or lossy where that is smaller.

    Raises:
        ValueError: it is too large for the documentation.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    exact, lossy = io.BytesIO(), io.BytesIO()
    _in_few_colours(picture).save(exact, "WEBP", lossless=True, quality=80, method=4)
    picture.save(lossy, "WEBP", quality=_QUALITY, method=6)
    smaller = min(exact.getvalue(), lossy.getvalue(), key=len)
    if len(smaller) > LARGEST_BYTES:
        raise ValueError(f"A picture of {len(smaller):,} bytes, more than {LARGEST_BYTES:,}.")
    return smaller


def _in_few_colours(picture: Image.Image) -> Image.Image:
    """Colours give way to the most frequent one that nobody can tell from them: those of the style sheet stay."""
    packed = np.asarray(picture, np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    found, place, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    if len(colours) > _MOST_COLOURS:
        return picture
    kept, free = colours.copy(), np.ones(len(colours), np.bool_)
    for number in np.argsort(-counts):
        if free[number]:
            alike = free & (np.abs(colours - colours[number]).max(axis=1) <= _ALIKE)
            kept[alike] = colours[number]
            free &= ~alike
    return Image.fromarray(kept[place.reshape(packed.shape)].astype(np.uint8))


def _plain(caption: str) -> str:
    return re.sub(r"[`\[\]]", "", caption).rstrip(".")


def _view(file: str) -> str:
    return "phone" if "-phone" in file else "dark" if file.endswith("-dark.webp") else "desk"
