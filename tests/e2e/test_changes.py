"""Delta rounds over the real services: who joins, changes or leaves is in the sums as if they were collected anew."""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.learning import model_file
from fanlight.learning.held_back import HeldBack
from fanlight.protocol.statistics import Sums
from fanlight.services.device import solving as device_solving
from fanlight.services.device import sums_file
from fanlight.services.device.pictures import Pictures
from fanlight.services.device.store import DeviceStore
from fanlight.services.main_server import collected_sums, solving
from fanlight.services.main_server.collected_sums import Collected
from fanlight.storage.database import Database
from tests.e2e.small_worlds import running_small, started
from tests.e2e.test_demo import LIMIT_S, Demo
from tests.services_world import Owner, ServiceDevice, World, draw, wait


def collected(world: World) -> Collected:
    with world.main.service.database.reading() as tx:
        found = collected_sums.read(tx)
    assert found is not None
    return found


def from_scratch(world: World, device: ServiceDevice) -> Sums:
    """What the device would send now, worked out from its pictures by another extractor than its own jobs use."""
    assert device.role is not None
    parts = device.role.pictures.examples(world.task.plan, ("train", "valid"), lambda _done, _all: None)
    return device_solving.learn(world.task.plan, parts["train"], parts["valid"])[1]


def check_collected(world: World, devices: list[ServiceDevice]) -> None:
    """Main has the exact sums of these devices' pictures, and the newest version is solved from them."""
    found, expected = (
        collected(world),
        functools.reduce(operator.add, (from_scratch(world, device) for device in devices)),
    )
    assert (found.sums - expected).is_empty
    assert found.devices == len(devices)
    assert found.supporters.tolist() == [len(devices)] * 2
    with world.main.service.database.reading() as tx:
        version = world.main.service.models.from_round(tx, found.round)
        assert version is not None
        made = model_file.decode(world.main.service.models.file_of(tx, version.number))
    head, _ = solving.solve(world.task.plan, expected, HeldBack(np.array([False, False])))
    assert np.array_equal(made.weight, head.weight)
    assert np.array_equal(made.bias, head.bias)


def change_pictures(device: ServiceDevice, seed: int) -> None:
    assert device.role is not None
    draw(device.settings.data, seed, {"train": 6, "valid": 1})
    device.role.pictures.changed()


def finished(world: World) -> bool:
    return bool(world.owner("main").status()["finished"])


def is_complete(world: World, number: int, kind: str = "changes") -> Any:
    return world.round(number, kind=kind, state="complete")


def test_by_itself_a_joiner_a_changer_and_a_leaver_are_taken_in_and_out_exactly(tmp_path: Path) -> None:
    with running_small(tmp_path, by_itself=True, rounds=1, paused=True) as world:
        devices = [started(world) for _ in range(3)]
        wait(lambda: world.owner("aggregator").status()["members"] == 3, "all are members before the first round")
        world.main.service.change_policy(paused=False)
        wait(lambda: finished(world), "the head is solved and measured")
        check_collected(world, devices)
        first, second, third = devices

        fourth = started(world)
        wait(
            lambda: (world.owner("main").status()["changes"] or {}).get("joins") == 1, "a device reports that it joins"
        )
        assert finished(world), "one alone has no company"
        change_pictures(first, 101)
        taken_in = wait(lambda: is_complete(world, 3), "changes were taken in")
        assert taken_in["participants"] == 2
        check_collected(world, [first, second, third, fourth])
        wait(lambda: finished(world), "the new version is measured")

        assert second.owner.ask("PUT", "/api/v1/forgotten", {"on": True}).status_code == 200
        wait(lambda: world.owner("main").status()["changes"]["leaves"] == 1, "a device waits to be forgotten")
        assert second.owner.status()["counted"]["forget"]
        assert not second.owner.status()["left"], "who leaves waits for company"
        assert finished(world)
        change_pictures(third, 103)
        assert wait(lambda: is_complete(world, 5), "one left, one changed")["participants"] == 2
        check_collected(world, [first, third, fourth])
        wait(lambda: second.owner.status()["left"], "it has left")
        assert second.owner.status()["counted"]["forgotten_in"] == 5
        wait(lambda: finished(world), "the version without it is measured")
        card = world.owner("main").get("/api/v1/models/3/card.json")
        assert (card["solution"]["collection"], card["solution"]["changed"], card["solution"]["devices"]) == (1, 5, 3)
        world.check_traces()


def reported(world: World) -> int:
    changes = world.owner("main").status()["changes"]
    return sum(changes[change] for change in ("joins", "changes", "leaves")) if changes else 0


def sees(device: ServiceDevice, kind: str) -> bool:
    found = device.sees_round()
    return bool(found) and found["kind"] == kind


def test_by_hand_the_operator_asks_for_it_and_main_may_be_started_anew_meanwhile(tmp_path: Path) -> None:
    with running_small(tmp_path) as world:
        devices = [started(world) for _ in range(3)]
        main = world.owner("main")
        for device in devices:
            wait(device.sees_round, "a round is open")
            device.send_model()
        world.aggregate()
        wait(lambda: world.open_round() == 2, "a round of training is open")

        refused = main.ask("POST", "/api/v1/statistics/changes")
        assert refused.json()["error"]["slug"] == "too-few-changes"
        for leaver in devices[:2]:
            assert leaver.owner.ask("PUT", "/api/v1/forgotten", {"on": True}).status_code == 200
        wait(lambda: reported(world) == 2, "two want to be forgotten")
        alone = main.ask("POST", "/api/v1/statistics/changes")
        assert alone.json()["error"]["slug"] == "too-few-changes", "what is left would be the third device's"

        assert devices[1].owner.ask("PUT", "/api/v1/forgotten", {"on": False}).status_code == 200
        devices.append(started(world))
        wait(lambda: main.status()["changes"]["joins"] == 1 and reported(world) == 2, "one leaves, one joins")
        assert main.ask("POST", "/api/v1/statistics/changes").status_code == 204
        wait(lambda: sees(devices[1], "changes"), "a round of changes is open")
        world.restart_main()
        wait(lambda: reported(world) == 2, "they have said so again")
        devices[1].owner.step("/modeltrain")
        devices[1].owner.step("/sendstatus")
        assert devices[1].owner.ended("/sendmodel")["error"]["slug"] == "nothing-changed"
        wait(lambda: sees(devices[3], "changes"), "a round of changes is open")
        devices[3].send_model()
        wait(lambda: main.status()["reports"] == 2, "the leaver needs nobody's hand")
        world.aggregate()
        assert is_complete(world, 3)["participants"] == 2
        check_collected(world, devices[1:])
        wait(lambda: devices[0].owner.status()["left"], "it has left")
        world.check_traces()


# ---- real processes


def owner_of(demo: Demo, role: str, offset: int) -> Owner:
    folder = demo.state / "demo"
    return Owner(f"http://localhost:{demo.base + offset}", folder / ("federation/main" if role == "main" else role))


def counted_by(device: Path) -> tuple[Sums | None, Sums]:
    """Of a device that has ended: what it has main count of it, and what its pictures come to."""
    store = DeviceStore(device)
    try:
        held, counted = store.held, store.account.counted
        assert held is not None
        sums = sums_file.decode(store.sums_file(counted.sums)) if counted else None
        (folder,) = (device.parents[1] / "pictures").glob(f"*/{device.name}")
        pictures = Pictures(folder, device)
        parts = pictures.examples(held.plan, ("train", "valid"), lambda _done, _all: None)
        return sums, device_solving.learn(held.plan, parts["train"], parts["valid"])[1]
    finally:
        store.close()


@pytest.mark.timeout(2 * LIMIT_S)
def test_with_real_processes_one_device_is_forgotten_while_another_has_lost_pictures(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--dataset", "shapes", "--devices", 3, "--rounds", 1, "--head", "analytic")
    try:
        demo.until_said("Log in")
        main = owner_of(demo, "main", 0)
        first, leaver = owner_of(demo, "device-1", 1), owner_of(demo, "device-2", 2)
        wait(lambda: main.status()["finished"], "the head is solved and measured", LIMIT_S)
        (folder,) = (demo.state / "pictures").glob("*/device-1")
        for picture in sorted((folder / "train").glob("*/*"))[:3]:
            picture.unlink()
        assert leaver.ask("PUT", "/api/v1/forgotten", {"on": True}).status_code == 200
        first.step("/modeltrain")
        wait(lambda: leaver.status()["left"], "it was forgotten, and has left", LIMIT_S)
        wait(lambda: main.status()["finished"], "the version without it is measured", LIMIT_S)
        assert leaver.status()["counted"]["forgotten_in"] == 3
    finally:
        demo.close()
    devices = [counted_by(demo.state / "demo" / f"device-{number}") for number in (1, 2, 3)]
    assert [sums is not None for sums, _ in devices] == [True, False, True]
    database = Database(demo.state / "demo" / "federation" / "main" / "state.sqlite3")
    with database.reading() as tx:
        found = collected_sums.read(tx)
    database.close()
    assert found is not None
    assert (found.devices, found.collection, found.round) == (2, 1, 3)
    for which in (0, 1):
        kept = [device[which] for device in (devices[0], devices[2])]
        total = functools.reduce(operator.add, [sums for sums in kept if sums is not None])
        assert (found.sums - total).is_empty
