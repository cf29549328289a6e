"""A server's state folder is put back from an older copy: somebody says so, and rounds go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fanlight.protocol.audit.findings import Flaw
from fanlight.protocol.closing import Outcome, Result
from tests.services_world import ProtocolDevice, World, running, wait


def put_back(world: World, role: str, copy: Path, *, without_keys: bool) -> None:
    folder = world.federation / role
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    if without_keys:
        shutil.rmtree(folder / "round-keys")


def whole_round(world: World, number: int, devices: list[ProtocolDevice]) -> None:
    wait(lambda: world.open_round() == number, f"round {number} is open")
    for device in devices:
        device.report()
    world.aggregate()
    assert world.round(number, state="complete", participants=2)


@pytest.mark.parametrize("without_keys", [False, True], ids=["with round keys", "without"])
@pytest.mark.parametrize("role", ["aggregator", "main"])
def test_a_folder_that_is_put_back_is_noticed_and_rounds_go_on(role: str, without_keys: bool, tmp_path: Path) -> None:
    with running(tmp_path) as world:
        stop, start = (
            (world.stop_aggregator, world.start_aggregator)
            if role == "aggregator"
            else (world.stop_main, world.start_main)
        )
        devices = world.enrolled(2)
        whole_round(world, 1, devices)
        wait(lambda: world.open_round() == 2, "the second round is open")
        devices[0].report()
        stop()
        shutil.copytree(world.federation / role, tmp_path / "copy")
        start()
        devices[1].report()
        world.aggregate()
        whole_round(world, 3, devices)
        wait(lambda: world.open_round() == 4, "the fourth round is open")
        lost = devices[0].report()
        stop()
        put_back(world, role, tmp_path / "copy", without_keys=without_keys)
        start()
        wait(lambda: world.open_round() == 5, "a new round is open")
        owner = world.owner(role)
        incidents = owner.status()["incidents"] if role == "aggregator" else owner.get("/api/v1/incidents")["incidents"]
        assert {incident["type"] for incident in incidents} == {"restored"}
        assert "older copy" in incidents[0]["meaning"]
        told = devices[0].outcome(lost.record.mh).outcome
        assert Outcome.decode(told.payload).result == Result.ABANDONED
        whole_round(world, 5, devices)
        whole_round(world, 6, devices)
        found = world.audit()
        assert {finding.flaw for finding in found} == {Flaw.RESTORED}, "\n".join(
            f"{finding.log} {finding.entry} {finding.message}" for finding in found
        )
