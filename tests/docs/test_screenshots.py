"""The pictures of the documentation are there, small, and each is shown somewhere; ``make screenshots`` takes them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.requirements import require

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURES = ROOT / "docs" / "screenshots"
LINKED = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<(?:img|source)\b[^>]*\bsrc(?:set)?=\"([^\"]+)\"")


def shown(page: Path) -> set[Path]:
    """The pictures that a page of the documentation shows."""
    return {(page.parent / (plain or html)).resolve() for plain, html in LINKED.findall(page.read_text("utf-8"))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_picture_that_is_shown_is_there(page: Path) -> None:
    assert [path for path in sorted(shown(page)) if not path.is_file()] == []


def test_the_readme_shows_some() -> None:
    assert len(shown(ROOT / "README.md")) >= 3


def test_all_of_them_are_in_the_album_and_none_is_large() -> None:
    files = set(PICTURES.glob("*"))
    assert files == shown(ROOT / "docs" / "screenshots.md")
    sizes = {path.name: path.stat().st_size for path in files}
    assert {name: size for name, size in sizes.items() if size >= 150_000} == {}
    assert sum(sizes.values()) < 4_000_000


@pytest.mark.timeout(300)
def test_the_command_takes_pictures(tmp_path: Path) -> None:
    require("chromium")
    command = [sys.executable, "-m", "scripts.screenshots", "--out", str(tmp_path), "--chapter", "no-devices"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    widths = {path.name: width(path) for path in (tmp_path / "screenshots").glob("*.png")}
    assert (widths["empty-main-desk.png"], widths["empty-main-phone.png"]) == (1280, 390)
    assert len(widths) == 14
    assert not (tmp_path / "screenshots.md").exists(), "a part is no album"


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width
