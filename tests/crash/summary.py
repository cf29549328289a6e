"""What a run of crash points came to: counts of each scenario, and by name every point that was never reached."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final

import pytest

TRIED: Final = "_crash-points"
"""The property of a test under which ``as_property`` is recorded; it reaches the controller of several workers."""


def as_property(scenario: str, when: str, listed: int, tried: int, missed: Iterable[str]) -> dict[str, Any]:
    """What one test has tried.

    Args:
        scenario, when: of the points.
        listed: how many points the scenario has that no other has.
        tried: how many deaths were wanted, each a point and a way to die.
        missed: those that never came, each with its cause.
    """
    return {"scenario": scenario, "when": when, "listed": listed, "tried": tried, "missed": list(missed)}


def lines(tests: Iterable[dict[str, Any]]) -> list[str]:
    """The summary, for people."""
    listed: dict[tuple[str, str], int] = defaultdict(int)
    tried: Counter[tuple[str, str]] = Counter()
    missed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for test in tests:
        key = (test["scenario"], test["when"])
        listed[key] = max(listed[key], test["listed"])
        tried[key] += test["tried"]
        missed[key] += test["missed"]
    said = []
    for key, points in listed.items():
        scenario, when = key
        where = "in a first start" if when == "first" else "in a cycle"
        died = tried[key] - len(missed[key])
        said.append(f"{scenario}, {where}: {points} points; {died} of {tried[key]} deaths")
        said += [f"    never reached: {name}" for name in missed[key]]
    all_missed = sum(map(len, missed.values()))
    return [*said, f"in all: {sum(listed.values())} points; {tried.total() - all_missed} of {tried.total()} deaths"]


def write(reporter: pytest.TerminalReporter) -> None:
    """Write the summary, if there is one."""
    reports = [report for name in ("passed", "failed") for report in reporter.stats.get(name, [])]
    found = [value for report in reports for name, value in report.user_properties if name == TRIED]
    if found:
        reporter.section("crash points")
        for line in lines(found):
            reporter.write_line(line)
