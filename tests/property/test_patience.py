"""Rounds until no better: whatever the accuracies, training ends as the rule says, and the best version is current."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fanlight.protocol.plan import Kind
from fanlight.services.main_server.app import MainServerParts
from tests.unit.main_server.past import add_round, measure, server

PICTURES = 40


def run(parts: MainServerParts, right: list[int]) -> int:
    """Rounds as the policy says, version v naming ``right[v]`` pictures rightly; how many of them trained."""
    for number in range(1, 4 * len(right)):
        with parts.service.database.transaction() as tx:
            stopped = parts.conductor.course.stop(tx)
            kind = parts.conductor.course.next_kind(tx)
            version = parts.service.models.current(tx).number
        if kind is None:
            break
        assert not stopped
        add_round(parts, number, kind=kind.value)
        measure(parts, number, [[right[version], PICTURES - right[version]], [0, 0]])
    return sum(line["kind"] == Kind.TRAIN.value for line in parts.records.rounds()["rounds"])


def expected(right: list[int], patience: int) -> int:
    """The version after which none of the last ``patience`` was better than all before."""
    best = 0
    for version in range(1, len(right)):
        if right[version] > right[best]:
            best = version
        if version - best == patience:
            return version
    raise AssertionError("the list ends with enough of the worst")


@settings(max_examples=12)
@given(st.lists(st.integers(0, PICTURES), min_size=1, max_size=8), st.integers(1, 3))
def test_training_ends_when_the_rule_says(right: list[int], patience: int) -> None:
    right += [0] * (patience + 1)
    with tempfile.TemporaryDirectory() as folder:
        _app, parts = server(Path(folder) / "federation", demo=True)
        parts.service.change_policy(by_itself=True, patience_rounds=patience)
        trained, last = run(parts, right), expected(right, patience)
        status = parts.overview.status()
        parts.service.close()
    assert trained == last
    assert status["held"]["reason"] == "no-better"
    assert right[status["model"]["version"]] == max(right[: last + 1])
