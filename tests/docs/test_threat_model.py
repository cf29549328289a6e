"""``docs/threat-model.md`` and ``tests/attacks`` name each other: no claim without attack, no attack without claim."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.current import DOCS

PAGE = (DOCS / "threat-model.md").read_text()
ATTACKS = DOCS.parent / "tests" / "attacks"
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def attacks() -> set[tuple[str, str]]:
    """Every attack, as (file, test)."""
    return {
        (path.name, node.name)
        for path in ATTACKS.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_attack_is_named_on_the_page_and_every_named_one_is_there() -> None:
    there, named = attacks(), set(NAMED.findall(PAGE))
    assert len(there) > 150, "the search for them finds too few"
    assert sorted(named - there) == [], "named, and not there"
    assert sorted(there - named) == [], "there, and not named"


def test_every_row_that_names_an_attack_says_what_comes_of_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and NAMED.search(line)]
    for row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) >= 3, row
        assert all(cells), row
        assert not NAMED.search(cells[0]), row


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_every_link_within_the_documentation_leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (DOCS / path).resolve() if path else DOCS / "threat-model.md"
    assert target.is_file()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_paper_that_is_cited_has_its_address() -> None:
    cited = set(re.findall(r"\]\[(\w+)\]", PAGE))
    given = set(re.findall(r"^\[(\w+)\]: https://", PAGE, re.MULTILINE))
    assert cited == given
