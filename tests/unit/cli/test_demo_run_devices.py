"""What becomes of a demo when one of its processes ends."""

from __future__ import annotations

from typing import cast

import pytest

from fanlight.cli.demo_run_devices import SOON_S, Survival
from fanlight.cli.processes import Processes
from fanlight.errors import LocalError


class Pretended:
    """Stands in for the processes: ``die`` ends some of them."""

    def __init__(self, devices: int) -> None:
        self.running = dict.fromkeys(["main", "aggregator", *(f"device-{n + 1}" for n in range(devices))])
        self.left_out: dict[str, None] = {}
        self.dead: list[str] = []

    def ended(self) -> dict[str, LocalError]:
        return {name: LocalError(f"{name} has ended") for name in self.dead}

    def start_again(self, name: str) -> None:
        self.dead.remove(name)

    def leave_out(self, name: str) -> None:
        self.dead.remove(name)
        self.left_out[name] = self.running.pop(name)


class World:
    """A demo that survives, its clock and what it says."""

    def __init__(self, devices: int) -> None:
        self.processes = Pretended(devices)
        self.said: list[str] = []
        self.now = 0.0
        self.survival = Survival(cast("Processes", self.processes), self._say, lambda: self.now)

    def _say(self, *lines: str) -> None:
        self.said.append("\n".join(lines))

    def die(self, *names: str, after: float = 0.0) -> None:
        self.now += after
        self.processes.dead.extend(names)
        self.survival.check()


def test_a_device_is_started_again() -> None:
    world = World(2)
    world.die("device-2")
    assert world.said == ["device-2 has ended\ndevice-2 is started again."]
    assert world.processes.dead == []
    assert world.survival.runs("device-2")


def test_one_that_ends_again_soon_is_left_out_while_two_others_are_left() -> None:
    world = World(3)
    world.die("device-2")
    world.die("device-2", after=SOON_S - 1)
    assert world.said[1:] == ["device-2 has ended\ndevice-2 is left out; the demo goes on with 2 devices."]
    assert not world.survival.runs("device-2")
    assert world.survival.runs("device-1")


def test_one_that_ends_again_much_later_is_started_again_once_more() -> None:
    world = World(2)
    world.die("device-2")
    world.die("device-2", after=SOON_S)
    assert world.survival.runs("device-2")
    assert len(world.said) == 2


def test_with_fewer_than_two_devices_it_is_over() -> None:
    world = World(3)
    world.die("device-1", "device-2")
    with pytest.raises(LocalError, match="device-2 has ended"):
        world.die("device-1", "device-2", after=1)


@pytest.mark.parametrize("server", ["main", "aggregator"])
def test_without_a_server_it_is_over_and_no_device_is_started_any_more(server: str) -> None:
    world = World(3)
    with pytest.raises(LocalError, match=f"{server} has ended"):
        world.die("device-1", server)
    assert world.said == []
