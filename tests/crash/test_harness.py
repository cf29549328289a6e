"""The harness finds what it is there to find, tries each code once, and says what it has missed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete

from fanlight.storage.database import Database
from fanlight.storage.tables.aggregator import reports
from tests.crash.invariants import Invariants
from tests.crash.listing import Listed, Place
from tests.crash.points import Point
from tests.crash.scenarios import LargeReports
from tests.crash.summary import as_property, lines


@pytest.mark.timeout(900)
def test_a_forgotten_receipt_of_a_large_report_is_found(tmp_path: Path, pictures: tuple[Path, ...]) -> None:
    federation = LargeReports(tmp_path, pictures)
    try:
        federation.start()
        federation.learn()
        federation.rest()
        invariants = Invariants(federation)
        invariants.check()
        aggregator = federation.roles["aggregator"]
        answered = [
            said["method"] for said in federation.roles["device-1"].said("answer") if "/reports/" in said["path"]
        ]
        assert answered == ["POST", "PATCH"]
        aggregator.kill()
        with Database(aggregator.state / "state.sqlite3") as database, database.transaction() as tx:
            tx.execute(delete(reports))
        with pytest.raises(AssertionError, match="a receipt is forgotten"):
            invariants.check()
    finally:
        federation.close()


def place(victim: str, label: str, occurrence: int = 1) -> Place:
    return Place(victim, Point(label, occurrence))


def test_code_that_an_earlier_scenario_has_reached_is_not_tried_again() -> None:
    before = Listed({"first": {place("main", "a"): True}, "later": {place("device-1", "b"): True}})
    listed = Listed(
        {
            "first": {place("main", "a"): True, place("main", "b"): True, place("main", "c"): True},
            "later": {place("leaver", "b"): True, place("main", "c", 2): False, place("leaver", "sum b"): True},
        }
    )
    new = listed.without(before.codes, again=())
    assert set(new.places["later"]) == {place("main", "c", 2), place("leaver", "sum b")}
    assert set(new.places["first"]) == {place("main", "b")}, "main's b is not a device's, and its c is tried later"
    again = listed.without(before.codes | {("device", "sum b")}, again=("sum",))
    assert set(again.places["later"]) == {place("main", "c", 2), place("leaver", "sum b")}


def test_the_summary_counts_chunks_together_and_names_what_was_never_reached() -> None:
    tests = [
        as_property("shards", "later", 40, 3, ["main, commit x, time 2, power on: reached 1 times"]),
        as_property("shards", "later", 40, 2, []),
        as_property("shards", "first", 7, 1, []),
    ]
    assert lines(tests) == [
        "shards, in a cycle: 40 points; 4 of 5 deaths",
        "    never reached: main, commit x, time 2, power on: reached 1 times",
        "shards, in a first start: 7 points; 1 of 1 deaths",
        "in all: 47 points; 5 of 6 deaths",
    ]
