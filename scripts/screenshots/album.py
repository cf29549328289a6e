"""Small WebP files of pages, and the page of the documentation that shows them all."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

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
_TALLEST: Final[dict[Window, int]] = {"desk": 1250, "phone": 1350}
"""Pixels of a page that are shown; what is below is cut off."""
LARGEST_BYTES: Final = 149_000
_MARGIN: Final = 24
"""Pixels above a part that is shown, and below."""
_SETTLED: Final = """async () => {
  for (const image of document.images) image.loading = "eager";
  const undrawn = () => document.querySelector("figure[data-chart]:not([data-drawn])") !== null;
  for (let turn = 0; turn < 40 && ([...document.images].some(image => !image.complete) || undrawn()); turn++)
    await new Promise(resolve => setTimeout(resolve, 50));
  await document.fonts.ready;
  await new Promise(resolve => setTimeout(resolve, 150));
}"""
_SCROLLED: Final = f"part => scrollTo(0, part.getBoundingClientRect().top + scrollY - {_MARGIN})"


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
        self.chapters[title] = []

    def open(self, role: OwnerClient) -> Page:
        """A tab in a browser of its own, in which the owner of ``role`` is logged in."""
        page = self.browser.new_context(viewport=_SIZES["desk"], locale="en-GB").new_page()
        page.set_default_timeout(60_000)
        page.goto(role.login_link())
        return page

    def take(
        self, page: Page, name: str, caption: str, views: Sequence[View] = (DESK, PHONE), part: str = "html"
    ) -> None:
        """Save the page as it is now, once for each view: all of it, or what is to be seen of one part (a selector).

        Raises:
            Error: the part does not come.
        """
        shown = page.locator(part).first
        shown.wait_for()
        if page.get_by_text("Something went wrong here").count():
            logs = "\n".join(log.read_text(errors="replace")[-5000:] for log in Path().rglob("*.log"))
            raise RuntimeError(f"{logs}\n{page.url} failed: {page.locator('main').inner_text()}")
        files = []
        for window, scheme in views:
            page.set_viewport_size(_SIZES[window])
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.evaluate(_SETTLED)
            tall = int(shown.evaluate("part => part.getBoundingClientRect().height")) + 2 * _MARGIN * (part != "html")
            size = _SIZES[window]
            height = max(size["height"], min(tall, _TALLEST[window]))
            page.set_viewport_size({"width": size["width"], "height": height})  # so that bars at the bottom stay there
            shown.evaluate(_SCROLLED)
            page.evaluate(_SETTLED)
            shot = page.screenshot(animations="disabled")
            files.append(f"{name}-{window}{'-dark' if scheme == 'dark' else ''}.webp")
            (self.folder / files[-1]).write_bytes(written(shot))
        page.set_viewport_size(_SIZES["desk"])
        page.emulate_media(color_scheme="light")
        self.chapters[self._chapter].append(Entry(caption, tuple(files)))

    def remove_others(self) -> None:
        """Delete pictures of earlier runs that this one did not take."""
        taken = {file for entries in self.chapters.values() for entry in entries for file in entry.files}
        for path in self.folder.iterdir():
            if path.name not in taken:
                path.unlink()

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
    """One page in its state: what is to be seen, and the files that show it."""

    caption: str
    files: tuple[str, ...]


def written(png: bytes) -> bytes:
    """The same picture as WebP.

    Raises:
        ValueError: it is too large for the documentation.
    """
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(file, "WEBP", quality=60, method=6)
    if file.tell() > LARGEST_BYTES:
        raise ValueError(f"A picture of {file.tell():,} bytes, more than {LARGEST_BYTES:,}.")
    return file.getvalue()


def _plain(caption: str) -> str:
    return re.sub(r"[`\[\]]", "", caption).rstrip(".")


def _view(file: str) -> str:
    return "phone" if "-phone" in file else "dark" if file.endswith("-dark.webp") else "desk"
