"""Heads that are solved in one round, over the real services: exact sums, the very solution, and what comes after."""

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
from fanlight.services.device import sums_file
from fanlight.services.main_server import collected_sums, solving
from fanlight.services.main_server.collected_sums import Collected
from fanlight.services.main_server.task import HeadName
from tests.e2e.small_worlds import running_small, started
from tests.services_world import ServiceDevice, World, draw, running, wait


def collected(world: World) -> Collected:
    """What main has solved the head from."""
    with world.main.service.database.reading() as tx:
        found = collected_sums.read(tx)
    assert found is not None
    return found


def own_sums(device: ServiceDevice) -> Sums:
    """What the device has sent."""
    assert device.role is not None
    prepared = device.role.store.prepared
    assert prepared is not None
    assert prepared.sums is not None
    return sums_file.decode(device.role.store.sums_file(prepared.sums))


def model(world: World, number: int) -> model_file.HeadModel:
    with world.main.service.database.reading() as tx:
        return model_file.decode(world.main.service.models.file_of(tx, number))


def check_solved(world: World, devices: list[ServiceDevice], head: HeadName) -> None:
    """Version 1 is solved from the exact sum of what all devices have sent."""
    found, expected = collected(world), functools.reduce(operator.add, map(own_sums, devices))
    assert (found.sums - expected).is_empty
    assert found.devices == len(devices)
    (solved, _), made = solving.solve(world.task.plan, expected, HeldBack(np.array([False, False]))), model(world, 1)
    assert made.kind == head
    assert np.array_equal(made.weight, solved.weight)
    assert np.array_equal(made.bias, solved.bias)


@pytest.mark.parametrize("head", ["analytic", "prototypes"])
def test_by_itself_a_head_is_solved_in_one_round_then_measured(tmp_path: Path, head: HeadName) -> None:
    with running(tmp_path, by_itself=True, rounds=1, head=head) as world:
        devices = [world.add_device().start() for _ in range(2)]
        wait(lambda: world.owner("main").status()["finished"], "all rounds are over")
        solved, measuring = world.rounds()
        assert [(entry["kind"], entry["state"]) for entry in (solved, measuring)] == [
            ("statistics", "complete"),
            ("measure", "complete"),
        ]
        assert solved["participants"] == 2
        assert solved["accuracy_after"] == measuring["accuracy_before"] > solved["accuracy_before"]
        check_solved(world, devices, head)
        world.check_traces()


def test_by_hand_the_same_steps_solve_it_and_training_goes_on_from_there(tmp_path: Path) -> None:
    with running(tmp_path, head="analytic") as world:
        devices = [world.add_device().start() for _ in range(2)]
        for device in devices:
            wait(device.sees_round, "a round is open for each device")
            device.send_model()
        world.aggregate()
        check_solved(world, devices, "analytic")
        for device in devices:
            wait(lambda device=device: is_open(device, 2), "the second round is open")  # type: ignore[misc]
            assert device.sees_round()["kind"] == "train"
            device.send_model()
        world.aggregate()
        first, second = model(world, 1), model(world, 2)
        assert second.kind == "analytic"
        moved = float(np.abs(second.weight - first.weight).max())
        assert moved < 0.1 * float(np.abs(first.weight).max()), "a round of training starts from what was solved"
        world.check_traces()


def test_solved_anew_it_knows_who_has_come_since(tmp_path: Path) -> None:
    with running_small(tmp_path) as world:
        devices = [started(world) for _ in range(2)]
        for device in devices:
            wait(device.sees_round, "a round is open for each device")
            device.send_model()
        world.aggregate()
        assert collected(world).devices == 2
        devices.append(started(world))
        assert world.owner("main").ask("POST", "/api/v1/statistics/anew").status_code == 204
        for device in devices:
            wait(lambda device=device: solves_anew(device), "a round is open that solves anew")  # type: ignore[misc]
            device.send_model()
        world.aggregate()
        assert collected(world).devices == 3
        expected = functools.reduce(operator.add, map(own_sums, devices))
        assert (collected(world).sums - expected).is_empty
        world.check_traces()


def solves_anew(device: ServiceDevice) -> bool:
    found = device.sees_round()
    return bool(found) and found["round"] > 1 and found["kind"] == "statistics"


def is_open(device: ServiceDevice, number: int) -> Any:
    found = device.sees_round()
    return found and found["round"] == number


def test_what_one_home_alone_has_pictures_of_is_held_back(tmp_path: Path) -> None:
    with running_small(tmp_path, by_itself=True, rounds=1, min_class_supporters=3) as world:
        for _ in range(2):
            started(world)
        wait(lambda: world.owner("main").status()["finished"], "all rounds are over")
        assert collected(world).supporters.tolist() == [2, 2]
        assert not model(world, 1).weight.any()
        assert not model(world, 1).bias.any()


def test_by_default_it_is_solved_then_trained_as_long_as_that_helps_and_the_best_version_is_current(
    tmp_path: Path,
) -> None:
    """No rule of the policy is given; so it goes again when pictures have changed."""
    with running_small(tmp_path, by_itself=True) as world:
        devices = [started(world) for _ in range(2)]
        check_it_ends(world, 1, "statistics")
        for device in devices:
            assert device.role is not None
            draw(device.settings.data, 50 + device.number, {"train": 8, "valid": 2})
            device.role.pictures.changed()
        wait(lambda: any(entry["kind"] == "changes" for entry in world.rounds()), "what has changed is taken in")
        first = next(entry["round"] for entry in world.rounds() if entry["kind"] == "changes")
        check_it_ends(world, first, "changes")
        world.check_traces()


def check_it_ends(world: World, first: int, kind: str) -> None:
    """From the round that solves the head until no version is better than the best one for two rounds."""
    wait(lambda: world.rounds() and ended(world, first), "it gets no better")
    rounds = [entry for entry in world.rounds() if entry["round"] >= first and entry["state"] == "complete"]
    kinds = [entry["kind"] for entry in rounds]
    assert kinds[0] == kind
    assert kinds[-1] == "measure"
    assert set(kinds[1:-1]) == {"train"}
    assert len(kinds) >= 3
    listed = {entry["version"]: entry for entry in world.owner("main").get("/api/v1/models")["models"]}
    made = [entry for entry in listed.values() if entry["round"] is not None and entry["round"] >= first]
    best = max(entry["metrics"]["accuracy"] for entry in made if entry["metrics"])
    current = world.owner("main").status()["model"]["version"]
    assert listed[current]["metrics"]["accuracy"] == best


def ended(world: World, first: int) -> bool:
    status = world.owner("main").status()
    held = status["held"]
    return bool(held) and held["reason"] == "no-better" and status["round"]["round"] > first
