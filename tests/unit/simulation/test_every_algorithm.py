"""Every algorithm that studies can name, in a world where rounds are short of devices and some cheat: the same bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.algorithms.robust import ROBUST, flaw_with
from fanlight.simulation import Line, Result, Study, simulate
from tests.unit.simulation.studies import data_of, study_of

WITHOUT_ROUNDS = ["fedbuff"]
WITHOUT_BATCH_NORM = ["fedbn"]
ROUNDS = [name for name in RECIPES if name not in (*WITHOUT_ROUNDS, *WITHOUT_BATCH_NORM)]
ROBUSTLY = [name for name in ROUNDS if not flaw_with(RECIPES[name].of({}))]
HARD: dict[str, Any] = {
    "world": "random:0.3+speeds:mixed,jitter=0.5+drop:report=0.1+over:50",
    "attack": "noise:0.4",
    "rounds": 5,
    "training": {"epochs": 2},
}
"""Among its rounds are some that a single report comes of: the protocol makes no sum of one."""


def unhurried(result: Result) -> list[dict[str, Any]]:
    """All of the rounds but what time says."""
    unlike = ("seconds", "phases", "device_seconds")
    return [{k: v for k, v in dataclasses.asdict(line).items() if k not in unlike} for line in result.rounds]


def stopped_once(study: Study, folder: Path) -> Result:
    """The study with two workers until its second round, then with this process alone."""

    def stop(line: Line) -> None:
        if line.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(study, data_of(), folder=folder, on_round=stop, workers=2)
    return simulate(study, data_of(), folder=folder, engine="inline")


@pytest.mark.parametrize(
    "changes",
    [
        *({"algorithm": name} for name in ROUNDS),
        *({"algorithm": f"{name}:combine={way}", "shards": 3} for name, way in zip(ROBUSTLY, ROBUST, strict=False)),
    ],
    ids=lambda changes: changes["algorithm"],
)
def test_neither_fidelity_nor_engine_nor_an_interruption_changes_a_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    fast = simulate(study_of(**HARD, **changes), data_of(), engine="inline")
    protocol = simulate(study_of(**HARD, **changes, fidelity="protocol"), data_of(), workers=2)
    again = stopped_once(study_of(**HARD, **changes), tmp_path)
    assert fast.model_sha256 == protocol.model_sha256 == again.model_sha256
    assert unhurried(fast) == unhurried(protocol) == unhurried(again)


@pytest.mark.parametrize("attack", ["", "label-flip:0.4"])
def test_nor_does_it_where_the_server_waits_for_nobody(attack: str, tmp_path: Path) -> None:
    study = study_of(**HARD | {"algorithm": "fedbuff", "cohort": 3, "world": "speeds:mixed,jitter=1", "attack": attack})
    forked = simulate(study, data_of(), workers=3)
    again = stopped_once(study, tmp_path)
    assert forked.model_sha256 == again.model_sha256
    assert unhurried(forked) == unhurried(again)
    assert max(line.staleness["max"] for line in forked.rounds if line.staleness) > 0


def test_a_single_report_is_no_round_unless_rounds_are_of_one_device() -> None:
    participants = [line.participants for line in simulate(study_of(**HARD), data_of()).rounds]
    assert 0 in participants
    assert 1 not in participants
    alone = simulate(study_of(cohort=1), data_of())
    assert [line.participants for line in alone.rounds] == [1, 1, 1]
