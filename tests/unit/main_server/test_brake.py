"""Which rounds count as having come to nothing, and how long the next one waits then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.brake import LONGEST_S, Brake
from fanlight.services.main_server.made_room import MadeRoom
from tests.unit.main_server.past import add_round, server


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    yield made
    made.service.close()


def left_s(parts: MainServerParts, brake: Brake) -> float:
    with parts.service.database.reading() as tx:
        return brake.left_s(tx)


def test_pauses_double_from_the_third_on_and_end_with_a_round_that_is_complete(parts: MainServerParts) -> None:
    brake, found = Brake(lambda: 0.0), []
    for number in range(1, 15):
        add_round(parts, number, state="abandoned" if number % 2 else "failed", reason="too-many-rejected")
        found.append(left_s(parts, brake))
    assert found[:6] == [0.0, 0.0, 2.0, 4.0, 8.0, 16.0]
    assert found[-3:] == [LONGEST_S] * 3
    add_round(parts, 15)
    assert left_s(parts, brake) == 0.0


def test_the_pause_is_counted_from_when_the_last_one_was_seen_to_be_over(parts: MainServerParts) -> None:
    now = [1000.0]
    brake = Brake(lambda: now[0])
    for number in range(1, 5):
        add_round(parts, number, state="failed")
    assert left_s(parts, brake) == 4.0
    now[0] += 3.0
    assert left_s(parts, brake) == 1.0
    now[0] += 3.0
    assert left_s(parts, brake) == 0.0
    assert left_s(parts, Brake(lambda: now[0])) == 4.0, "a restart begins it anew"


@pytest.mark.parametrize("reason", ["ordered-by-main", "window-passed", "abandoned-by-operator", *MadeRoom])
def test_what_was_given_up_on_purpose_or_took_its_time_is_passed_over(parts: MainServerParts, reason: str) -> None:
    brake = Brake(lambda: 0.0)
    for number in range(1, 5):
        add_round(parts, number, state="abandoned", reason=reason)
    assert left_s(parts, brake) == 0.0
    for number in range(5, 8):
        add_round(parts, number, state="abandoned", reason="too-many-rejected")
    add_round(parts, 8, state="abandoned", reason=reason)
    assert left_s(parts, brake) == 2.0, "and what was in vain before it still counts"


def test_the_operator_lets_rounds_go_on(parts: MainServerParts) -> None:
    brake = Brake(lambda: 0.0)
    for number in range(1, 6):
        add_round(parts, number, state="failed")
    with parts.service.database.reading() as tx:
        brake.release(tx)
    assert left_s(parts, brake) == 0.0
    for number in range(6, 9):
        add_round(parts, number, state="failed")
    assert left_s(parts, brake) == 2.0
