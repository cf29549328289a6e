"""Cheats of a fleet know one another's honest updates, whichever of them asks first."""

from __future__ import annotations

import numpy as np
import pytest

from fanlight.learning.algorithms.local import Outcome
from fanlight.services.fleet.gang import Gang
from fanlight.simulation.attacks.registry import planned
from fanlight.simulation.cheats import Cheats

DEVICES = 10


def outcome(device: int, round_number: int) -> Outcome:
    update = np.random.default_rng([device, round_number]).standard_normal(7)
    return Outcome(update, update)


@pytest.mark.parametrize("attack", ["lie:0.4", "min-max:0.4", "sign-flip:0.4", "noise:0.4"])
@pytest.mark.parametrize("first", [0, 1])
def test_what_they_send_is_what_they_would_send_in_a_simulation(attack: str, first: int) -> None:
    cheats = Cheats.of(planned(attack), DEVICES, 5)
    gang, who, learned = Gang(cheats, DEVICES), sorted(cheats.who), list[int]()
    present = [device for device in range(DEVICES) if device != who[-1]]  # one of them is away

    def learn(device: int) -> Outcome:
        learned.append(device)
        return outcome(device, number)

    for number in (1, 2):
        there = who[:-1]
        expected = cheats.sent(number, {each: outcome(each, number).update for each in there}, DEVICES)
        for device in (*there[first:], *there[:first]):
            honest, sent = gang.crafted(bytes([number]), number, device, present, learn)
            assert np.array_equal(honest.update, outcome(device, number).update)
            assert np.array_equal(sent, expected[device])
    assert learned == 2 * who[:-1], "each learns once in a round"
