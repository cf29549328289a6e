"""Failures that the simulation has found, as it shrank them: each was a fault of the program, and has a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.operations import Advance, CloseEarly, Conduct, Crash, Everybody, Follow, Operation, Replay, Turn
from tests.faults.request import Route
from tests.faults.routes import AGGREGATOR
from tests.faults.scenarios import WINDOW_S
from tests.faults.simulation import Simulation
from tests.faults.stores import Kind
from tests.faults.world import NAMES

CLOSED_AND_LEFT: list[Operation] = [Everybody(), Everybody(), CloseEarly()]
"""An operator closed a round and did not release it: it stayed open for ever, also when its window had passed."""

WINDOW_PASSED: list[Operation] = [
    Everybody(),
    Conduct(),
    Follow(),
    Turn(NAMES[0]),
    Turn(NAMES[1]),
    Advance(WINDOW_S + 1),
    Follow(),
]
"""The window had passed, and the aggregator died before it had released: nothing made it go on."""

CLOSED_BEFORE_THE_FIRST_REPORT: list[Operation] = [
    Everybody(),
    Conduct(),
    Follow(),
    CloseEarly(),
    Turn(NAMES[0]),
    Turn(NAMES[1]),
]
"""A close was refused, and the first report came: the round was looked up inside another reading of the database."""

ASKED_AGAIN_LATER: list[Operation] = [
    *[Everybody()] * 5,
    *(Replay(which, route) for route in (Route.MANIFEST, Route.CLOSE, Route.RELEASE) for which in range(3)),
]
"""Rounds were over, and their manifests and closes came again: main held them against the newest round, and refused."""


@pytest.fixture(scope="module", params=Kind)
def simulation(request: pytest.FixtureRequest, quick_folder: Path) -> Simulation:
    return Simulation(quick_folder / request.param, request.param)


def test_a_round_that_was_closed_and_left_ends_with_its_window(simulation: Simulation) -> None:
    view = simulation.run(CLOSED_AND_LEFT)
    assert [record.state for record in view.main.values()] == ["complete"]


@pytest.mark.parametrize(
    "death",
    [Crash(AGGREGATOR, 0, after=True), Crash(AGGREGATOR, 1, after=False), Crash(AGGREGATOR, 1, after=True)],
    ids=["after the close", "before verdict and release are stored", "after that"],
)
def test_an_aggregator_that_died_when_the_window_had_passed_goes_on(simulation: Simulation, death: Crash) -> None:
    view = simulation.run([*WINDOW_PASSED[:-1], death, *WINDOW_PASSED[-1:]])
    assert [record.state for record in view.main.values()] == ["complete"]


def test_a_close_that_is_refused_keeps_no_report_away(simulation: Simulation) -> None:
    view = simulation.run(CLOSED_BEFORE_THE_FIRST_REPORT)
    assert [record.state for record in view.main.values()] == ["complete"]


def test_what_was_answered_in_an_earlier_round_is_answered_alike(simulation: Simulation) -> None:
    view = simulation.run(ASKED_AGAIN_LATER)
    assert [record.state for record in view.main.values()][:2] == ["complete", "complete"]
