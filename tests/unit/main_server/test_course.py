"""What comes after a round by the policy: the rules that stop training, pauses, quiet hours, and how they end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from fanlight.errors import NotPossibleNow
from fanlight.protocol.plan import Kind
from fanlight.protocol.statistics import Sums
from fanlight.services.main_server import collected_sums
from fanlight.services.main_server.app import MainServerParts, create_app
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import HeadName, Task
from fanlight.storage.tables import main as tables
from tests.unit.main_server.past import add_member, add_round, measure, server

BAD, GOOD, BEST = [[30, 30], [50, 40]], [[40, 20], [40, 50]], [[50, 10], [10, 80]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "federation"


@pytest.fixture
def parts(folder: Path) -> Iterator[MainServerParts]:
    _app, made = server(folder, demo=True)
    yield made
    made.service.close()


def follow(parts: MainServerParts, *figures: list[list[int]], kind: str = "train") -> None:
    """Rounds one after another, each of which measures the version that it starts from."""
    for number, received in enumerate(figures, parts.records.rounds()["total"] + 1):
        add_round(parts, number, kind=kind)
        measure(parts, number, received)
        stop(parts)


def stop(parts: MainServerParts) -> bool:
    with parts.service.database.transaction() as tx:
        return parts.conductor.course.stop(tx)


def next_kind(parts: MainServerParts) -> Kind | None:
    with parts.service.database.transaction() as tx:
        return parts.conductor.course.next_kind(tx)


def held(parts: MainServerParts) -> Any:
    return parts.overview.status()["held"]


def newest_entries(parts: MainServerParts, count: int) -> list[str]:
    return [entry["type"] for entry in parts.records.log.page()["entries"][:count]]


def test_no_rule_is_on_unless_asked_for(parts: MainServerParts) -> None:
    parts.service.change_policy(by_itself=True)
    follow(parts, BEST, BAD, BAD, BAD, BAD)
    assert (held(parts), next_kind(parts)) == (None, Kind.TRAIN)


def test_it_ends_after_rounds_that_got_no_better_and_goes_back_to_the_best(parts: MainServerParts) -> None:
    parts.service.change_policy(by_itself=True, patience_rounds=2)
    follow(parts, BAD, BEST, GOOD)  # of the versions 0, 1, 2; version 3 is not measured yet
    assert (held(parts), next_kind(parts)) == (None, Kind.MEASURE)
    follow(parts, GOOD, kind="measure")
    assert held(parts)["reason"] == "no-better"
    assert (
        "No version up to 3 named more of the held-out pictures rightly than version 1, 86.7 %. Version 1 is current."
        in held(parts)["message"]
    )
    assert parts.overview.status()["finished"]
    assert parts.overview.status()["model"]["version"] == 1
    [change] = parts.records.models()["changes"]
    assert (change["from"], change["to"], change["reason"]) == (3, 1, "no-better")
    assert newest_entries(parts, 2) == ["current-model", "stopped"]
    assert next_kind(parts) is None


def test_a_last_version_that_is_better_lets_it_go_on(parts: MainServerParts) -> None:
    parts.service.change_policy(by_itself=True, patience_rounds=2)
    follow(parts, BAD, GOOD, GOOD)
    follow(parts, BEST, kind="measure")
    assert (held(parts), next_kind(parts)) == (None, Kind.TRAIN)
    assert parts.overview.status()["model"]["version"] == 3


def test_by_hand_nobody_is_told_to_end(parts: MainServerParts) -> None:
    parts.service.change_policy(patience_rounds=1)
    follow(parts, BEST, BAD, BAD)
    assert (held(parts), next_kind(parts)) == (None, Kind.TRAIN)


def test_a_version_that_cannot_be_measured_does_not_hold_the_end_up(parts: MainServerParts) -> None:
    parts.service.change_policy(by_itself=True, patience_rounds=1)
    follow(parts, BEST)
    for number in (2, 3, 4):
        assert next_kind(parts) is Kind.MEASURE
        add_round(parts, number, kind="measure", state="failed")
    assert stop(parts)
    assert (held(parts)["reason"], parts.overview.status()["model"]["version"]) == ("no-better", 0)


def test_after_all_rounds_the_best_version_is_current_where_better_ones_are_looked_for(parts: MainServerParts) -> None:
    parts.service.change_policy(by_itself=True, patience_rounds=5, rounds=2)
    follow(parts, BAD, BEST)
    follow(parts, GOOD, kind="measure")
    assert (held(parts)["reason"], parts.overview.status()["model"]["version"]) == ("all-done", 1)
    assert parts.records.models()["changes"][0]["reason"] == "best"
    assert parts.service.make_current(2)
    assert not stop(parts), "what the operator chose stays"
    assert parts.overview.status()["model"]["version"] == 2


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_drop_stops_and_goes_back_and_stays_over_a_restart(
    parts: MainServerParts, folder: Path, *, by_itself: bool
) -> None:
    parts.service.change_policy(stop_on_drop_points=10, by_itself=by_itself)
    follow(parts, BAD, BEST, GOOD)
    assert held(parts)["reason"] == "dropped"
    assert held(parts)["message"] == (
        "Version 2 named 60.0 % of the held-out pictures rightly, version 1 had named 86.7 %. Version 1 is current."
    )
    assert newest_entries(parts, 2) == ["current-model", "stopped"]
    assert next_kind(parts) is None
    parts.service.close()
    _app, again = create_app(MainServerSettings(state=folder / "main"))
    assert held(again)["reason"] == "dropped"
    assert again.overview.status()["model"]["version"] == 1
    assert again.overview.status()["finished"]


def test_a_smaller_drop_is_borne(parts: MainServerParts) -> None:
    parts.service.change_policy(stop_on_drop_points=30, by_itself=True)
    follow(parts, BAD, BEST, GOOD)
    assert (held(parts), next_kind(parts)) == (None, Kind.TRAIN)


def test_going_on_counts_anew_from_the_current_version(parts: MainServerParts) -> None:
    parts.service.change_policy(stop_on_drop_points=10, patience_rounds=3, by_itself=True)
    follow(parts, BAD, BEST, GOOD)
    parts.conductor.go_on()
    assert (held(parts), next_kind(parts)) == (None, Kind.TRAIN)
    assert newest_entries(parts, 1) == ["resumed"]
    assert not stop(parts)
    follow(parts, BEST, BAD)  # of version 1 again, and of the one made from it
    assert held(parts)["reason"] == "dropped"
    assert parts.overview.status()["model"]["version"] == 1


def test_the_operators_choice_of_a_version_is_where_counting_begins(parts: MainServerParts) -> None:
    parts.service.change_policy(stop_on_drop_points=10, by_itself=True)
    follow(parts, BAD, BEST)
    parts.service.make_current(0)
    follow(parts, BAD, GOOD)
    assert held(parts) is None


def test_a_pause_holds_rounds_of_both_kinds_until_it_ends(parts: MainServerParts) -> None:
    add_round(parts, 1)
    for number in (1, 2):
        add_member(parts, number)
    parts.service.see_aggregator()
    parts.service.change_policy(paused=True)
    assert held(parts)["reason"] == "paused"
    commits = parts.service.database.commits
    assert not parts.conductor.advance()
    assert parts.service.database.commits == commits, "what looks at the clock in vain takes no lock"
    assert parts.conductor.due_in_s() == math.inf
    with pytest.raises(NotPossibleNow, match="paused") as caught:
        parts.conductor.measure_next()
    assert caught.value.slug == "paused"
    parts.conductor.go_on()
    assert held(parts) is None
    assert parts.conductor.advance()
    assert parts.overview.status()["round"]["state"] == "proposed"


def test_no_open_round_gives_way_to_a_measuring_round_that_must_not_open(parts: MainServerParts) -> None:
    add_round(parts, 1)
    add_round(parts, 2, state="open")
    for number in (1, 2):
        add_member(parts, number)
    parts.service.see_aggregator()
    parts.service.change_policy(paused=True)
    with pytest.raises(NotPossibleNow, match="paused"):
        parts.conductor.measure_next()
    assert parts.overview.status()["round"]["state"] == "open"


def test_quiet_hours_hold_rounds_until_they_end(folder: Path) -> None:
    server(folder, demo=True)[1].service.close()
    now = datetime(2026, 11, 24, 23, tzinfo=UTC).timestamp()
    _app, parts = create_app(MainServerSettings(state=folder / "main"), clock=lambda: now)
    for number in (1, 2):
        add_member(parts, number)
    parts.service.change_policy(quiet_hours="22:00-06:00", timezone="Europe/Berlin")
    assert held(parts) == {
        "reason": "quiet",
        "title": "Quiet until 06:00 (Europe/Berlin).",
        "message": "No round opens in the quiet hours.",
        "next": "Wait, or change the quiet hours (/task).",
        "until": datetime(2026, 11, 25, 5, tzinfo=UTC).timestamp(),
        "can_go_on": False,
    }
    parts.service.see_aggregator()
    with pytest.raises(NotPossibleNow, match="Quiet until") as caught:
        parts.conductor.measure_next()
    assert caught.value.retry_after_s == 6 * 3600, "the answer says when to come back"
    assert not parts.conductor.advance()
    assert parts.conductor.due_in_s() == 6 * 3600
    assert not parts.overview.status()["finished"]
    now = held(parts)["until"]
    assert held(parts) is None
    assert parts.conductor.advance()
    parts.service.close()


def test_a_program_lets_rounds_go_on(folder: Path) -> None:
    app, parts = server(folder, demo=True)
    token = (folder / "main" / "api-token").read_text().strip()
    client = TestClient(app, base_url="http://localhost:8000")
    headers = {"Authorization": f"Bearer {token}"}
    assert client.put("/api/v1/policy", json={"paused": True}, headers=headers).json()["paused"]
    assert client.get("/api/v1/status", headers=headers).json()["held"]["reason"] == "paused"
    assert client.post("/api/v1/go-on", headers=headers).json()["held"] is None
    assert client.post("/api/v1/go-on").status_code in (401, 403)
    parts.service.close()


def test_a_round_that_gave_way_to_something_else_is_none_of_those_that_were_asked_for(parts: MainServerParts) -> None:
    parts.service.change_policy(by_itself=True, rounds=2)
    add_round(parts, 1)
    add_round(parts, 2, state="abandoned")
    assert next_kind(parts) is Kind.MEASURE
    with parts.service.database.transaction() as tx:
        tx.execute(tables.rounds.update().where(tables.rounds.c.number == 2).values(reason="made-room-for-rules"))
    assert next_kind(parts) is Kind.TRAIN


def test_a_head_that_is_solved_begins_with_statistics_and_is_trained_only_as_long_as_that_helps(folder: Path) -> None:
    _app, made = server(folder, demo=True, head="analytic")
    made.service.change_policy(by_itself=True)
    assert next_kind(made) is Kind.STATISTICS
    with made.service.database.transaction() as tx:
        sums = Sums(*(np.zeros(1, np.int64),) * 3)
        collected_sums.keep(tx, collected_sums.Collected(sums, np.zeros(2, np.int64), 2, 1, 1))
    assert next_kind(made) is Kind.STATISTICS, "what was solved from them is not published yet"
    follow(made, BAD, BEST, GOOD)
    assert (held(made), next_kind(made)) == (None, Kind.MEASURE)
    follow(made, GOOD, kind="measure")
    assert held(made)["reason"] == "no-better"
    assert made.overview.status()["model"]["version"] == 1
    made.service.close()


def test_a_head_is_solved_anew_when_the_operator_says_so_and_if_it_is_solved_at_all(folder: Path) -> None:
    _app, made = server(folder, demo=True, head="analytic")
    with made.service.database.transaction() as tx:
        sums = Sums(*(np.zeros(1, np.int64),) * 3)
        collected_sums.keep(tx, collected_sums.Collected(sums, np.zeros(2, np.int64), 2, 1, 1))
    follow(made, BAD, BEST)
    assert next_kind(made) is Kind.TRAIN
    made.service.collect_anew()
    assert next_kind(made) is Kind.STATISTICS
    made.service.close()


def test_a_trained_head_cannot_be_solved(parts: MainServerParts) -> None:
    with pytest.raises(NotPossibleNow, match="not solved"):
        parts.service.collect_anew()


def test_an_analytic_task_asks_for_ten_devices_unless_it_is_a_demonstration(folder: Path) -> None:
    cases: list[tuple[HeadName, bool, int]] = [("analytic", False, 10), ("analytic", True, 2), ("prototypes", False, 5)]
    for head, demo, k_min in cases:
        assert Task.default(classes=("a", "b"), head=head, demo=demo).policy.k_min == k_min
