"""From what the roles answer to the published JSON."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
from rich.console import Console

from fanlight.cli.demo_progress import Progress
from fanlight.cli.demo_result import Result, ask, with_local_accuracies
from fanlight.cli.owner_client import OwnerClient
from fanlight.errors import Unreachable

COMPLETE = {
    "round": 1,
    "kind": "train",
    "state": "complete",
    "participants": 2,
    "accuracy_before": 0.5,
    "accuracy_after": 0.75,
    "balanced_accuracy_before": 0.4,
    "balanced_accuracy_after": 0.7,
    "seconds": 1.5,
    "reason": "",
}
ABANDONED = COMPLETE | {"round": 2, "state": "abandoned", "participants": 0, "reason": "too few reports"}


class Answers:
    """Stands in for a role."""

    def __init__(self, name: str, answers: dict[str, Any]) -> None:
        self.name = name
        self._answers = answers

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._answers[path]
        return answer


class Silence:
    """Stands in for a device that does not answer."""

    name = "device-9"

    def get(self, path: str) -> dict[str, Any]:
        raise Unreachable(f"{self.name} does not answer at {path}.")


def asked(rounds: list[dict[str, Any]], *, finished: bool = True) -> Result:
    model = {"version": 1, "sha256": "00"}
    main = Answers("main", {"/api/v1/rounds": {"rounds": rounds, "finished": finished, "model": model}})
    devices = [
        Answers("device-1", {"/api/v1/learning": {"rounds": [{"round": 1, "local_accuracy": 0.9}]}}),
        Answers("device-2", {"/api/v1/learning": {"rounds": []}}),
    ]
    return with_local_accuracies(ask(cast("OwnerClient", main)), cast("list[OwnerClient]", devices))


def test_a_round_is_as_the_contract_says() -> None:
    result = asked([COMPLETE])
    assert result.good
    assert [entry.as_json() for entry in result.rounds] == [
        {
            "round": 1,
            "participants": 2,
            "accuracy_before": 0.5,
            "accuracy_after": 0.75,
            "balanced_accuracy_before": 0.4,
            "balanced_accuracy_after": 0.7,
            "local_accuracy": {"device-1": 0.9},
            "seconds": 1.5,
        }
    ]


def test_an_abandoned_round_has_null_accuracies_and_spoils_the_result() -> None:
    result = asked([COMPLETE, ABANDONED])
    assert not result.good
    figures = {name: value for name, value in result.rounds[1].as_json().items() if "accuracy_" in name}
    assert set(figures) == {f"{kind}accuracy_{when}" for kind in ("", "balanced_") for when in ("before", "after")}
    assert set(figures.values()) == {None}


def test_a_device_that_does_not_answer_has_null_in_every_round_and_spoils_nothing() -> None:
    result = with_local_accuracies(asked([COMPLETE, COMPLETE | {"round": 2}]), cast("list[OwnerClient]", [Silence()]))
    assert [entry.as_json()["local_accuracy"] for entry in result.rounds] == [{"device-9": None}] * 2
    assert result.good


def test_a_round_that_was_never_measured_spoils_the_result() -> None:
    assert not asked([COMPLETE | {"accuracy_after": None}]).good


def test_earlier_rounds_do_not_count() -> None:
    result = asked([ABANDONED | {"round": 1}, COMPLETE | {"round": 2}]).since(1)
    assert result.good
    assert [entry.number for entry in result.rounds] == [2]


def test_each_change_is_said_once_and_the_table_shows_all() -> None:
    written = io.StringIO()
    progress = Progress(Console(file=written, width=160))
    for _ in range(3):
        progress.show(asked([COMPLETE, ABANDONED]))
    lines = written.getvalue().splitlines()
    assert lines == ["round 1: published", "round 2: abandoned (too few reports)"]
    progress.table(asked([COMPLETE, ABANDONED]))
    assert "75.0 %" in written.getvalue()
    assert "90.0 %" in written.getvalue()


@pytest.mark.parametrize("missing", ["rounds", "finished", "model"])
def test_an_answer_that_lacks_something_is_not_passed_over(missing: str) -> None:
    answer: dict[str, Any] = {"rounds": [], "finished": False, "model": {}}
    del answer[missing]
    with pytest.raises(KeyError):
        ask(cast("OwnerClient", Answers("main", {"/api/v1/rounds": answer})))
