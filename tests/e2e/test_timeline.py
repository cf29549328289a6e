"""A round from device to device over the real services, and a round that the operator gives up."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tests.services_world import ServiceDevice, World, running, wait


def timeline(world: World, number: int) -> Any:
    return world.owner("main").get(f"/api/v1/rounds/{number}/timeline")


def step_of(world: World, number: int, device: ServiceDevice) -> str:
    (entry,) = [entry for entry in timeline(world, number)["devices"] if entry["device"] == device.id]
    return str(entry["step"])


def sees(device: ServiceDevice, number: int) -> bool:
    return (device.sees_round() or {}).get("round") == number


def open_for(world: World, number: int, devices: list[ServiceDevice]) -> None:
    wait(lambda: world.open_round() == number, f"round {number} is open")
    for device in devices:
        wait(partial(sees, device, number), "the device knows")


def test_each_step_of_a_device_is_seen_and_a_round_that_is_given_up_can_be_answered_again(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, second = devices = [world.add_device().start() for _ in range(2)]
        open_for(world, 1, devices)
        wait(lambda: step_of(world, 1, second) == "has-model", "the second device has the model")
        first.owner.step("/modeltrain")
        first.owner.step("/sendstatus")
        wait(lambda: step_of(world, 1, first) == "announced", "the first device has announced")
        first.owner.step("/sendmodel")
        wait(lambda: step_of(world, 1, first) == "reported", "its report has arrived")

        main = world.owner("main")
        assert main.ask("POST", "/api/v1/rounds/1/abandon").status_code == 202
        open_for(world, 2, devices)
        assert world.round(1, state="abandoned", reason="ordered-by-main")
        assert main.refused("/api/v1/rounds/1/abandon") == "round-over"
        assert main.refused("/api/v1/rounds/9/abandon") == "not-found"
        assert not world.report_files()
        assert (step_of(world, 1, first), step_of(world, 1, second)) == ("reported", "missed")
        aggregated = world.owner("aggregator").get("/api/v1/rounds")["rounds"]
        assert [entry["state"] for entry in aggregated] == ["abandoned", "collecting"]

        first.owner.step("/sendmodel")  # what it has trained is still good
        second.send_model()
        world.aggregate()
        wait(lambda: {step_of(world, 2, device) for device in devices} == {"has-new-model"}, "both have the new model")
        seen = timeline(world, 2)
        assert seen["counts"] == {
            "devices": 2, "model": 2, "announced": 2, "report": 2, "new_model": 2, "counted": 2, "left_out": 0,
        }  # fmt: skip
        times = [seen[moment] for moment in ("opened_at", "judged_at", "released_at", "ended_at")]
        assert times == sorted(times)
        world.check_traces()
