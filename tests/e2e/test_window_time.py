"""Rounds are timed by the aggregator's clock: devices answer them though it, or another clock, is far from theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.protocol.manifest import SignedManifest
from fanlight.services.federation import read_token
from tests.services_world import Clock, ProtocolDevice, ServiceDevice, World, running, wait

DAY_S = 86_400
WINDOW_S = 60


def with_clocks_of_their_own(world: World) -> dict[str, Clock]:
    """Both servers started anew, each with a clock that can be set alone."""
    world.clocks = {role: Clock() for role in world.clocks}
    world.restart_main()
    world.restart_aggregator()
    return world.clocks


def refusals(device: ServiceDevice) -> list[str]:
    return [line["slug"] for line in device.owner.get("/api/v1/refusals")["refusals"]]


@pytest.mark.parametrize(
    ("whose", "shift_s"),
    [
        # by less than makes a signature too old or too new, which would tell the device, and by more
        ("aggregator", -4 * WINDOW_S),
        ("aggregator", -DAY_S),
        ("main", DAY_S),
        ("device", 4 * WINDOW_S),
        ("device", DAY_S),
    ],
)
def test_a_device_answers_though_a_clock_is_off_by_more_than_a_window(
    whose: str, shift_s: float, tmp_path: Path
) -> None:
    with running(tmp_path, by_itself=True, window_s=WINDOW_S) as world:
        clocks = {**with_clocks_of_their_own(world), "device": Clock()}
        device, other = world.add_device(), ProtocolDevice(world, read_token(world.token("other", 2 * DAY_S)))
        device.clock = clocks["device"]
        device.start()
        wait(lambda: device.role and device.role.agent.connected_at, "it is enrolled, and alone")
        clocks[whose].offset += shift_s
        other.enrol()
        wait(lambda: world.open_round() == 1, "the round is open")
        other.report(other.commit_to(SignedManifest.decode(other.offer().manifest or b"")))
        wait(lambda: world.round(1, state="complete", participants=2), "both are in the sum")
        assert "window-passed" not in refusals(device), "it has asked what time it is"
