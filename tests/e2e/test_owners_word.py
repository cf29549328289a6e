"""What a device's owner changes holds at once, whatever the device waits for: here, for news, ten minutes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.services.device.role import DeviceRole
from fanlight.services.main_server import news, protocol_api
from tests.services_world import DEADLINE_S, ServiceDevice, World, running, wait

LONG_S = 10 * DEADLINE_S
"""Longer than anything here is waited for."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(news, "LONGEST_OFFER_WAIT_S", LONG_S)
    monkeypatch.setattr(protocol_api, "LONGEST_WAIT_S", LONG_S)
    with running(tmp_path, by_itself=True, wait_s=3600) as world:
        yield world


def test_a_device_follows_its_owner_in_the_middle_of_a_long_poll(world: World) -> None:
    other = world.protocol_device()
    other.enrol()
    device = world.add_device(accept_demo=False).start()
    role = patient(device)
    world.wait_members([other.id, bytes.fromhex(device.id)])
    wait(world.open_round, "a round is open")
    other.report()
    wait(lambda: role.agent._declined, "the device declines: its owner accepts no demonstration")
    kept = device.owner.get("/api/v1/wishes")
    names = ("k_min", "accept_demo", "answers_per_day", "r_max_percent")
    for accept in (False, False, False, False, False, True):  # more often than a device may wait at the same time
        waits(world, device)
        floors = {name: kept[name] for name in names} | {"accept_demo": accept}
        changed = device.owner.ask("PUT", "/api/v1/floors", floors)
        assert changed.status_code == 200, changed.text
    wait(lambda: world.round(1, participants=2), "it has answered the open round after all")

    assert role.agent.trouble is None, "a question that was broken off is no trouble"


def patient(device: ServiceDevice) -> DeviceRole:
    """A device that asks for news and waits for them for as long as main lets it."""
    role = device.role
    assert role is not None
    role.agent._poll_wait_s = LONG_S
    return role


def waits(world: World, device: ServiceDevice) -> None:
    """It asks for news, and main has none."""
    waiting = world.main.service.news._waiting._of_sender
    wait(lambda: waiting[bytes.fromhex(device.id)] == 1, "it waits for news")
