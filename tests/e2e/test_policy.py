"""The policy of rounds over the real services: when a round ends, whom it asks, when training stops, pauses."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from fanlight.protocol.contribution import Measured
from fanlight.protocol.plan import Kind
from tests.e2e.browser import PHONE, too_wide, visit
from tests.e2e.test_pages import logged_in, served
from tests.services_world import CLIENT, ProtocolDevice, World, contribution_of, running, wait
from tests.unit.main_server.past import server


def change(world: World, **changes: Any) -> None:
    owner = world.owner("main")
    answered = CLIENT.put(owner.url + "/api/v1/policy", json=changes, headers=owner._headers())
    assert answered.status_code == 200, answered.text


def newest(world: World) -> tuple[int, str]:
    """Number and kind of the round that is open at both servers; (0, "") while none is."""
    number = world.open_round()
    entry = world.round(number) if number else None
    return (entry["round"], entry["kind"]) if entry else (0, "")


def answer(world: World, devices: list[ProtocolDevice], number: int, kind: Kind, right: int) -> None:
    """All devices report in a round: so many of 100 held-out pictures were named rightly."""
    wait(lambda: newest(world) == (number, kind.value), f"round {number} is open, to {kind.value}")
    for index, device in enumerate(devices):
        said = contribution_of(world.task.plan.of_kind(kind), index, seed=number)
        measured = Measured(np.array([[right, 100 - right], [0, 0]], np.int64), 10.0)
        device.report(device.commit(replace(said, received=measured)))


def held(world: World) -> Any:
    return world.owner("main").status()["held"]


def test_rounds_go_on_until_no_better_and_the_best_version_is_handed_out(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, patience_rounds=2) as world:
        devices = world.enrolled(2)
        for number, right in enumerate((50, 80, 70), 1):  # of the versions 0, 1, 2
            answer(world, devices, number, Kind.TRAIN, right)
        answer(world, devices, 4, Kind.MEASURE, 75)  # of version 3
        status = wait(lambda: (found := world.owner("main").status())["finished"] and found, "training has ended")
        assert (status["held"]["reason"], status["model"]["version"]) == ("no-better", 1)
        assert {device.offer().model_version for device in devices} == {1}
        logged = [entry for entry in world.log_types("main") if entry in ("stopped", "current-model")]
        assert logged == ["stopped", "current-model"]
        world.restart_main()
        assert world.owner("main").status()["model"]["version"] == 1
        owner = world.owner("main")
        assert owner.ask("POST", "/api/v1/go-on").json()["held"] is None
        answer(world, devices, 5, Kind.TRAIN, 80)
        wait(lambda: world.round(5, state="complete"), "it goes on from the best version")
        assert owner.get("/api/v1/models/4")["from_version"] == 1
        world.check_traces()


def test_an_open_round_keeps_its_rules_and_the_next_one_has_the_new_ones(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, wait_s=3600, stands_still=True) as world:
        devices = world.enrolled(3)
        change(world, expected_percent=60)
        devices[2].offer()  # it is there
        for device in devices[:2]:
            device.report(device.commit())
        assert not world.main.conductor.advance(), "all three are waited for, as when the round began"
        assert newest(world) == (1, "train")
        devices[2].report()
        wait(lambda: newest(world)[0] == 2, "the next round is open")
        devices[2].offer()
        for device in devices[:2]:
            device.report(device.commit())
        wait(lambda: world.round(2, state="complete", participants=2), "two of three are enough")
        world.check_traces()


def test_more_devices_are_drawn_than_are_waited_for(tmp_path: Path) -> None:
    rules = {"cohort_size": 3, "over_selection_percent": 50, "wait_s": 3600, "paused": True}
    with running(tmp_path, by_itself=True, **rules, stands_still=True) as world:
        devices = [world.protocol_device() for _ in range(6)]
        for device in devices:
            device.enrol()
        world.wait_members(device.id for device in devices)
        assert world.owner("main").ask("POST", "/api/v1/go-on").json()["held"] is None
        wait(lambda: newest(world)[0] == 1, "a round is open")
        drawn = [device for device in devices if device.offer().manifest is not None]
        assert len(drawn) == 5
        for device in drawn[:3]:
            device.report()
        wait(lambda: world.round(1, state="complete", participants=3), "three reports end the round")
        world.check_traces()


def test_a_cohort_is_drawn_of_the_devices_that_are_there(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, cohort_size=3, paused=True, stands_still=True) as world:
        devices = [world.protocol_device() for _ in range(12)]
        for device in devices:
            device.enrol()
        world.wait_members(device.id for device in devices)
        presence = world.main.service.presence
        for device in devices:  # as if they had broken off their polls
            presence.lose(device.id, world.main.service.monotonic())
        devices[0].offer()
        change(world, paused=False)
        assert held(world)["reason"] == "too-few-present"
        assert "1 of the 2" in held(world)["message"]
        assert not world.main.conductor.advance()
        for number in (1, 2):
            for device in devices[:3]:
                device.offer()
            wait(lambda number=number: newest(world)[0] == number, "a round is open")  # type: ignore[misc]
            assert held(world) is None
            drawn = [device for device in devices if device.offer().manifest is not None]
            assert {device.id for device in drawn} <= {device.id for device in devices[: 3 if number == 1 else 12]}
            for device in drawn:
                device.report()
            wait(lambda number=number: world.round(number, state="complete"), "the round ends")  # type: ignore[misc]
        world.check_traces()


def test_a_proposal_that_waited_goes_by_the_rules_of_when_it_is_signed_or_is_given_up(tmp_path: Path) -> None:
    with running(tmp_path, paused=True) as world:
        devices = [world.protocol_device() for _ in range(3)]
        for device in devices:
            device.enrol()
        world.wait_members(device.id for device in devices)
        world.stop_aggregator()
        change(world, paused=False)
        wait(lambda: world.round(1, state="proposed"), "main, which has just heard the aggregator, proposes")
        change(world, paused=True, k_min=3)
        world.start_aggregator()
        wait(lambda: world.round(1, state="abandoned", reason="made-room-for-rules"), "it is given up")
        assert len(world.rounds()) == 1
        change(world, paused=False)
        wait(lambda: newest(world)[0] == 2, "the next round opens")
        assert world.owner("main").status()["round"]["k_min"] == 3
        for device in devices:
            device.report()
        world.aggregate()
        assert world.round(2, state="complete", participants=3)
        world.check_traces()


@pytest.mark.parametrize(
    ("changed", "kind", "drawn"),
    [({"over_selection_percent": 50}, "train", 3), ({"rounds": 1}, "measure", 2)],
)
def test_rules_that_change_who_is_drawn_or_whether_training_goes_on_hold_for_a_proposal_that_waited(
    tmp_path: Path, changed: dict[str, int], kind: str, drawn: int
) -> None:
    with running(tmp_path, by_itself=True, cohort_size=2, paused=True, stands_still=True) as world:
        devices = [world.protocol_device() for _ in range(3)]
        for device in devices:
            device.enrol()
        world.wait_members(device.id for device in devices)
        change(world, paused=False)
        wait(lambda: newest(world) == (1, "train"), "a round is open")
        change(world, paused=True)
        for device in devices:
            if device.offer().manifest is not None:
                device.report()
        wait(lambda: world.round(1, state="complete"), "it ends")
        world.stop_aggregator()
        change(world, paused=False)
        wait(lambda: world.round(2, state="proposed"), "main, which has just heard the aggregator, proposes")
        change(world, **changed)
        world.start_aggregator()
        wait(lambda: world.round(2, state="abandoned", reason="made-room-for-rules"), "it is given up")
        wait(lambda: newest(world) == (3, kind), "the next round opens, by the new rules")
        assert sum(device.offer().manifest is not None for device in devices) == drawn
        world.check_traces()


def test_nothing_is_proposed_while_the_aggregator_is_away(tmp_path: Path) -> None:
    with running(tmp_path, paused=True) as world:
        devices = [world.protocol_device() for _ in range(2)]
        for device in devices:
            device.enrol()
        world.wait_members(device.id for device in devices)
        world.stop_aggregator()
        world.restart_main()
        change(world, paused=False)
        assert not world.main.conductor.advance()
        assert not world.rounds()
        world.start_aggregator()
        wait(lambda: newest(world)[0] == 1, "a round opens as soon as it is there")


def test_rounds_by_themselves_begin_at_once_where_nobody_works_for_the_one_by_hand(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = world.enrolled(2)
        assert not devices[0].offer().by_itself
        change(world, by_itself=True)
        wait(lambda: world.round(1, state="abandoned", reason="made-room-for-rules"), "it gives way")
        wait(lambda: newest(world)[0] == 2, "the next round opens")
        assert devices[0].offer().by_itself
        for device in devices:
            device.report()
        wait(lambda: world.round(2, state="complete", participants=2), "it ends by itself")
        world.check_traces()


def test_a_pause_lets_the_open_round_end_and_no_other_open(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True) as world:
        devices = world.enrolled(2)
        change(world, paused=True)
        for device in devices:
            device.report(device.commit())
        wait(lambda: world.round(1, state="complete"), "the open round ends")
        assert held(world)["reason"] == "paused"
        assert not world.main.conductor.advance()
        assert len(world.rounds()) == 1
        change(world, paused=False)
        wait(lambda: newest(world)[0] == 2, "the next round opens")


def test_a_pause_by_clicking(browser: Browser, tmp_path: Path) -> None:
    app, parts = server(tmp_path / "federation")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        served("main", app, listener) as made,
        logged_in(browser, made, PHONE) as context,
    ):
        page, wrong = visit(context)
        page.goto(f"{made.url}/task")
        page.get_by_role("button", name="Pause: open no further round").click()
        expect(page.get_by_text("Rounds are paused.")).to_be_visible()
        assert parts.service.task.policy.paused
        page.goto(made.url)
        expect(page.get_by_role("heading", name="Rounds are paused.")).to_be_visible()
        assert too_wide(page) <= 0
        page.get_by_role("button", name="Let rounds go on").click()
        expect(page.get_by_role("heading", name="Waiting for devices.")).to_be_visible()
        assert not parts.service.task.policy.paused
        assert not wrong
