"""Whatever is lost, doubled, late, replayed or dies: the laws of ``invariants`` hold.

The usual run has 500 cases and draws the same ones everywhere; the long one has 20,000, from a seed that it prints.
``FANLIGHT_FAULTS_SEED`` draws others, or the same again. Hypothesis prints a failing case as a list of operations, as
short as it can make it: with a name it belongs into ``test_regressions.py``.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.faults.answers import SAME_BYTES
from tests.faults.cases import SCENARIOS, cases
from tests.faults.operations import Operation
from tests.faults.request import Route
from tests.faults.scenarios import Scenario
from tests.faults.simulation import Simulation
from tests.faults.stores import Kind

LONG = os.environ.get("FANLIGHT_LONG") == "1"
CASES = 1000 if LONG else 250
PARTS = 10 if LONG else 1
"""Of so many cases each, for each kind of store: they run on all cores."""
SEED = int(os.environ.get("FANLIGHT_FAULTS_SEED") or (secrets.randbits(32) if LONG else 1))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", Kind)
def test_the_laws_hold_whatever_fails(
    kind: Kind, part: int, quick_folder: Path, record_property: Callable[[str, object], None]
) -> None:
    name = f"{kind}-{part}"
    simulation = Simulation(quick_folder / name, kind)

    @hypothesis.seed(f"{SEED} {name}")
    @hypothesis.settings(
        max_examples=CASES,
        derandomize=False,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases(), st.integers(0, 2**32), SCENARIOS)
    def run(operations: list[Operation], drawn: int, scenario: Scenario) -> None:
        simulation.run(operations, drawn, scenario)

    try:
        run()
    finally:
        record_property("faults", json.dumps(simulation.summary(part=part, seed=SEED)))
    assert simulation.seen["cases"] >= CASES
    assert simulation.seen["rounds complete"] > CASES / 10, "most cases must come to something"
    assert simulation.seen["deaths"] > CASES / 10
    assert simulation.seen["rounds failed"] > CASES / 50
    assert simulation.seen["rounds with shards"] > CASES / 20
    assert simulation.seen["shards left out"] > CASES / 100
    for route in SAME_BYTES - {Route.MODEL}:
        assert simulation.seen[f"again {route}"] > CASES / 100, f"too few came again: {route}"
    for scenario in Scenario:
        assert simulation.seen[f"cases {scenario.name.lower()}"] > CASES / 50
