"""What a real main server says to devices that have nothing to do, and to those that ask too often at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.errors import RemoteError
from fanlight.services.main_server.news import WAITING_EACH
from fanlight.services.main_server.pace import LONGEST_OFFER_WAIT_S
from fanlight.services.main_server.presence import PRESENT_S
from tests.services_world import World, running, wait


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path, by_itself=True, polls_per_second=1, k_min=40, n_max=50) as world:
        yield world


def test_with_many_devices_each_is_told_to_pause_and_the_operator_sees_it(world: World) -> None:
    world.clock.stand_still()
    devices = [world.protocol_device() for _ in range(12)]
    for device in devices[:10]:
        device.enrol()
    assert devices[0].offer().pause_s is None, "ten devices, one poll a second: each long-poll may follow the other"
    for device in devices[10:]:
        device.enrol()
    assert {device.offer().pause_s for device in devices} == {4}
    assert world.owner("main").status()["pause_s"] == 4
    metrics = world.owner("main").ask("GET", "/metrics").text
    assert "fanlight_device_pause_seconds 4.0" in metrics
    world.clock.let_pass(LONGEST_OFFER_WAIT_S + 5.0 + 3.0)
    assert world.owner("main").status()["devices"]["away"] == 0, "those that pause are there"
    world.clock.let_pass(10.0)
    assert world.owner("main").status()["devices"]["here"] == 0
    world.main.service.change_policy(polls_per_second=200)
    assert devices[0].offer().pause_s is None


def test_that_main_answers_makes_no_device_present_for_longer(world: World) -> None:
    device = world.protocol_device()
    device.enrol()
    version = device.offer().version
    device.main.remote.send("GET", f"/protocol/v1/offer?after={version}&wait=2")
    world.clock.let_pass(PRESENT_S - 1.0)
    assert not world.main.service.presence.is_present(device.id), "frozen while it waited, it has said nothing since"


def test_a_device_with_too_many_waiting_requests_comes_back_when_it_was_told_to(world: World) -> None:
    device = world.add_device()
    device.start()
    role = wait(lambda: device.role, "it runs")
    version = wait(lambda: role.rounds.offers.current, "it has an offer").version
    enough = threading.Event()

    def keep_a_place() -> None:
        while not enough.is_set():
            try:
                role.rounds.main.remote.send("GET", f"/protocol/v1/offer?after={version}&wait=2")
            except RemoteError:
                enough.wait(0.01)

    others = [threading.Thread(target=keep_a_place) for _ in range(2 * WAITING_EACH)]
    for other in others:
        other.start()
    try:
        trouble = wait(lambda: role.agent.trouble, "the device finds no place")
    finally:
        enough.set()
        for other in others:
            other.join()
    assert trouble.slug == "too-many-requests"
    assert trouble.again_at - trouble.at >= LONGEST_OFFER_WAIT_S / 2
    wait(lambda: role.agent.trouble is None, "it has come back")
    assert (role.agent.connected_at or 0) >= trouble.again_at, "and not before"


def test_a_round_for_some_wakes_no_others(tmp_path: Path) -> None:
    with running(tmp_path, cohort_size=2, paused=True) as world:
        devices = [world.protocol_device() for _ in range(5)]
        for device in devices:
            device.enrol()
        world.wait_members(device.id for device in devices)
        before = {device.id: device.offer().version for device in devices}
        world.main.service.change_policy(paused=False)
        wait(world.open_round, "a round is open")
        invited = {device.id for device in devices if device.offer().manifest}
        heard = {device.id for device in devices if device.offer().version != before[device.id]}
        assert len(invited) == 2
        assert heard == invited
