"""The pictures of the documentation are there, small, and each is shown somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURES = ROOT / "docs" / "screenshots"
STATES = {
    "aggregator": "log main-gone overview rounds split-trust step working",
    "device": "equivocation go-on learning learning-classes learning-course learning-training left left-not-told "
    "left-told main-gone overview overview-training pause-and-leave paused picture pictures pictures-alike "
    "pictures-new pictures-suggested privacy refused refuses send taken-for train training try-it upload wrong-floor",
    "empty-aggregator": "- log rounds",
    "empty-device": "- bin learning pictures privacy suggested train",
    "empty-main": "- devices log models models-0 rounds",
    "main": "beyond-the-last devices incident libraries log log-broken login login-refused measuring model models "
    "no-answer not-connected not-found overview problem round round-open rounds step step-not-yet task wrong-number",
}
"""What people meet, by role: each is shown at a desk and on a phone; ``-`` is the start page."""
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
    assert sum(sizes.values()) < 6_000_000


def test_each_state_is_shown_at_a_desk_and_on_a_phone() -> None:
    states = {f"{role}-{name}".removesuffix("--") for role, names in STATES.items() for name in names.split()}
    taken = {path.name for path in PICTURES.glob("*") if "-dark" not in path.name}
    assert taken == {f"{state}-{window}.webp" for state in states for window in ("desk", "phone")}
