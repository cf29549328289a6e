"""The pictures of the documentation are there, small, and shown; and no state of a page is without one."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURES = ROOT / "docs" / "screenshots"
ALBUM = json.loads((ROOT / "docs" / "screenshots.json").read_text("utf-8"))
"""What `make screenshots` saw: by name of a picture, the ``path`` of its page and what that ``says`` in boxes."""
CONSOLES = ROOT / "src" / "fanlight" / "consoles"
LINKED = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<(?:img|source)\b[^>]*\bsrc(?:set)?=\"([^\"]+)\"")

EMPTY = re.compile(r"\bempty\(\"([^\"]+)\"")
BOX = re.compile(r"<(\w+) class=\"(?:banner|note bad|job)\b[^>]*>(.*?)</\1>", re.DOTALL)
BETWEEN = re.compile(r"<noscript>.*?</noscript>|<[^>]*>|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
IN_BRACES = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
SENTENCE = re.compile(r"\"([A-Z][^\"]+)\"")


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
    taken = {path.name for path in PICTURES.glob("*") if "-dark" not in path.name}
    assert taken == {f"{name}-{window}.webp" for name in ALBUM for window in ("desk", "phone")}


def test_every_empty_page_has_a_picture() -> None:
    wanted = dict(empty_pages())
    assert len(wanted) > 20, "the search for them finds too few"
    assert without_picture(wanted) == {}


def test_every_error_and_busy_box_has_a_picture() -> None:
    wanted = dict(boxes())
    assert {"The last attempt failed.", "Waiting for its turn", "The chain is broken at entry"} <= set(wanted)
    assert without_picture(wanted) == {}


def test_a_state_without_a_picture_is_noticed() -> None:
    said = "No round yet."
    templates = {Path("a.html"), Path("b.html")}
    assert without_picture({said: templates, "Nobody has ever seen this.": {Path("a.html")}}) == {
        "Nobody has ever seen this.": (0, 1)
    }
    assert without_picture({said: {Path(f"{number}.html") for number in range(99)}}).keys() == {said}


def without_picture(wanted: dict[str, set[Path]]) -> dict[str, tuple[int, int]]:
    """Texts that fewer pages of the album say than there are templates with them: how many do, and how many should."""
    found = {text: len(pages_that_say(text)) for text in wanted}
    return {text: (found[text], len(files)) for text, files in wanted.items() if found[text] < len(files)}


def pages_that_say(text: str) -> set[tuple[str, str]]:
    """Role and path of the pages; numbers of the text are any."""
    pattern = re.compile(re.escape(text).replace("%d", r"\d+"))
    return {
        (name.removeprefix("empty-").partition("-")[0], seen["path"])
        for name, seen in ALBUM.items()
        if any(pattern.search(said) for said in seen["says"])
    }


def empty_pages() -> Iterator[tuple[str, set[Path]]]:
    """What templates and code say where there is nothing, with the files that say it."""
    found: dict[str, set[Path]] = {}
    for template in CONSOLES.rglob("*.html"):
        for text in EMPTY.findall(template.read_text("utf-8")):
            found.setdefault(text, set()).add(template)
    for module in CONSOLES.rglob("*.py"):
        for text in first_arguments(ast.parse(module.read_text("utf-8"))):
            found.setdefault(text, set()).add(module)
    yield from found.items()


def first_arguments(module: ast.Module) -> Iterator[str]:
    """The texts that ``Empty`` is called with, also by way of functions that take ``what``."""
    calls = {
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and node.args.args and node.args.args[0].arg == "what"
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"Empty", *calls}:
            for leaf in ast.walk(node.args[0]):
                if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                    yield leaf.value


def boxes() -> Iterator[tuple[str, set[Path]]]:
    """The words with which banners, notes of errors and running jobs begin, with the templates that have them."""
    found: dict[str, set[Path]] = {}
    for template in CONSOLES.rglob("*.html"):
        for _tag, inside in BOX.findall(template.read_text("utf-8")):
            pieces = [" ".join(piece.split()) for piece in BETWEEN.split(inside)]
            texts = [piece for piece in pieces if len(piece.split()) > 1][:1]
            texts += [text for braces in IN_BRACES.findall(inside) for text in SENTENCE.findall(braces)]
            for text in texts:
                found.setdefault(text, set()).add(template)
    yield from found.items()
