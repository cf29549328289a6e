"""``docs/simulation-worlds.md``: its tables are the code's, and every line that it shows can be read."""

from __future__ import annotations

import re

import pytest

from fanlight.simulation import partitions
from fanlight.simulation.attacks.registry import ATTACKS, planned
from fanlight.simulation.worlds import availability, hardware, membership, world
from tests.docs.current import DOCS

PAGE = (DOCS / "simulation-worlds.md").read_text(encoding="utf-8")
LINES = [
    *re.findall(r'^(partition|world|attack) = "(.+)"$', PAGE, re.MULTILINE),
    *re.findall(r"`--(world|attack) ([a-z]\S+)`", PAGE),
]


@pytest.mark.parametrize(("subject", "line"), LINES)
def test_every_line_that_is_shown_can_be_read(subject: str, line: str) -> None:
    if subject == "partition":
        partitions.check(line)
    elif subject == "world":
        world.World.of(line, 100, 0)
    else:
        assert planned(line) is not None


def test_it_shows_lines_of_each_subject() -> None:
    assert {subject for subject, _ in LINES} == {"partition", "world", "attack"}
    assert len(LINES) >= 8


@pytest.mark.parametrize("module", [partitions, availability, world])
def test_tables_of_terms_are_those_of_the_modules(module: object) -> None:
    rows = [row.replace("``", "`") for row in (module.__doc__ or "").splitlines() if row.startswith("| ``")]
    assert rows
    for row in rows:
        assert row in PAGE, f"docs/simulation-worlds.md lacks this line of the code: {row}"


def test_every_attack_is_listed_as_it_is() -> None:
    for recipe in ATTACKS.values():
        takes = ", ".join(f"`{each.name}` {each.default:g}" for each in recipe.parameters) or "nothing"
        row = f"| `{recipe.name}` | {recipe.summary} | {takes} | {recipe.paper} | {recipe.stopped_by} |"
        assert row in PAGE, f"docs/simulation-worlds.md lacks this line of the code: {row}"


def test_classes_of_hardware_are_listed_as_they_are() -> None:
    for name, kind in hardware.CLASSES.items():
        down, up = kind.down_bytes_per_s / 1e6, kind.up_bytes_per_s / 1e6
        assert f"| `{name}` | {kind.examples_per_s:,.0f} | {down:g} | {up:g} |" in PAGE


def test_parameters_of_joiners_are_explained() -> None:
    assert "join:0.5,from=5,to=10" in (membership.__doc__ or "")
    assert "`join:0.5,from=5,to=10`" in PAGE
