"""What the benchmarks of memory and recovery are made of: real servers, members that report, rounds that end.

A benchmark whose federation did nothing would keep every promise; so it is shown here that something happens.
"""

from __future__ import annotations

import pytest

from benchmarks.memory import servers
from benchmarks.recovery import measure_kills


@pytest.mark.long
def test_members_fill_rounds_of_real_servers() -> None:
    found = {figure.name: figure for figure in servers(devices=3, rounds=2)}
    assert found["rounds with every report"].value == 2
    for role in ("main", "aggregator"):
        assert 10 < found[f"{role}, after 2 rounds of 3 devices"].value < 1000


@pytest.mark.long
def test_rounds_go_on_after_each_kill() -> None:
    found = {figure.name: figure for figure in measure_kills(kills=1, seed=1)}
    assert found["rounds abandoned"].ok
    assert found["rounds complete"].value > 3
    for victim in ("main", "aggregator", "device-1"):
        assert found[f"{victim} killed 1 times, slowest"].value > 0
