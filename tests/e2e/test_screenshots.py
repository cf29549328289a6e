"""``make screenshots`` takes pictures of real processes, and takes none that does not show what its caption says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Error

from scripts.screenshots.album import Album
from scripts.screenshots.chapters import CHAPTERS
from tests.requirements import require

ROOT = Path(__file__).parents[2]
QUICK = "nothing-learned"
PAGE = """<meta name="viewport" content="width=device-width"><title>A step</title><main><h1>A step</h1>
  <div class="job"><p>Running:   one of two</p></div><p hidden>Hidden</p>
  <section style="margin-top: 3000px"><h2>Far down</h2><p class="empty">No round yet.</p></section></main>"""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "chapter", [pytest.param(name, marks=[] if name == QUICK else [pytest.mark.long]) for name in CHAPTERS]
)
def test_the_command_takes_the_pictures_of_a_chapter(tmp_path: Path, chapter: str) -> None:
    """Each state comes about, and is in its picture: else the command fails."""
    require("chromium")
    command = [sys.executable, "-m", "scripts.screenshots", "--out", str(tmp_path), "--chapter", chapter]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sizes = {path.name: size(path) for path in (tmp_path / "screenshots").glob("*.webp")}
    assert {width for name, (width, _height) in sizes.items() if "-phone" in name} == {390}
    assert max(height for name, (_width, height) in sizes.items() if "-phone" in name) <= 844
    assert {width for name, (width, _height) in sizes.items() if "-desk" in name} == {1280}
    known = {path.name for path in (ROOT / "docs" / "screenshots").glob("*.webp")}
    assert set(sizes) <= known, "the album has not been taken since this chapter was changed"
    assert not (tmp_path / "screenshots.md").exists(), "a part is no album"


def test_a_picture_shows_what_it_is_to_show(browser: Browser, tmp_path: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content(PAGE)
        album = Album(browser, tmp_path)
        album.chapter("Steps")
        album.take(page, "running", "A step runs.", "Running")
        album.take(page, "far", "Something far down.", "Far down")
        album.take(page, "part", "A part of the page.", "No round yet.", part="section")
        (running, far, part) = album.chapters["Steps"]
        assert (running.says, far.says, part.says) == (
            ("Running: one of two",),
            ("No round yet.",),
            ("No round yet.",),
        )
        assert size(tmp_path / "far-phone.webp") == (390, 844)
        assert size(tmp_path / "part-desk.webp")[1] < 300


@pytest.mark.parametrize("text", ["Done.", "Hidden"])
def test_a_picture_that_does_not_is_not_taken(browser: Browser, tmp_path: Path, text: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content(PAGE)
        page.set_default_timeout(3_000)  # waited out in vain for the text, and enough for all else
        with pytest.raises((AssertionError, Error), match="does not show"):
            Album(browser, tmp_path).take(page, "done", "The step is done.", text)
        assert not list(tmp_path.iterdir())


def test_what_passes_is_held_until_it_has_been_photographed(browser: Browser, tmp_path: Path) -> None:
    """A page asks for what is new while it is photographed, and would show that."""
    asks = "addEventListener('resize', async () => { await fetch('/new'); job.remove(); }, { once: true })"
    with browser.new_context() as context:
        page = context.new_page()
        page.route("http://localhost/**", lambda route: route.fulfill(content_type="text/html", body="new"))
        page.goto("http://localhost/")
        page.set_content(f'<main><div class="job" id="job">Running</div></main><script>{asks}</script>')
        album = Album(browser, tmp_path)
        album.chapter("Steps")
        album.take(page, "running", "A step runs.", page.locator(".job"))
        page.locator(".job").wait_for(state="detached")


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size
