"""``docs/adr/README.md`` lists every decision, in order, and says of each number that is missing that it is."""

from __future__ import annotations

import re

from tests.docs.current import DOCS

FOLDER = DOCS / "adr"
TEXT = (FOLDER / "README.md").read_text()


def test_the_list_is_complete_and_in_order() -> None:
    listed = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \|", TEXT, re.MULTILINE)
    assert [file for _, file in listed] == sorted(path.name for path in FOLDER.glob("[0-9]*.md"))
    assert [number for number, _ in listed] == [file[:4] for _, file in listed]


def test_no_number_is_missing_without_a_word() -> None:
    used = [int(path.name[:4]) for path in FOLDER.glob("[0-9]*.md")]
    missing = set(range(1, max(used) + 1)) - set(used)
    assert len(set(used)) == len(used)
    assert {int(number) for number in re.findall(r"^There is no (\d{4}):", TEXT, re.MULTILINE)} == missing


def test_each_page_has_its_number_in_its_title() -> None:
    for path in FOLDER.glob("[0-9]*.md"):
        assert path.read_text().startswith(f"# {path.name[:4]} "), path.name
