"""A member whose reports cannot be opened stalls nobody: it is left out for a while, is named, and comes back."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from fanlight.protocol.report import ReportHeader, sealed_hash, sign_report
from fanlight.protocol.signing import Signed
from fanlight.services.main_server import guide
from fanlight.services.main_server.quarantine import FIRST_ROUNDS
from tests.services_world import ProtocolDevice, Sent, World, running, wait

RULES: dict[str, Any] = {"by_itself": True, "k_min": 5, "r_max_percent": 10}


def unopenable(device: ProtocolDevice, sent: Sent) -> Sent:
    """The report, properly signed, with a seed for main that main cannot open."""
    envelope, sealed = sent.envelope, secrets.token_bytes(len(sent.envelope.sealed_main))
    header = ReportHeader.decode(Signed.decode(envelope.header).payload).with_(main_hash=sealed_hash(sealed))
    forged = sign_report(device.private, header, sealed, envelope.sealed_aggregator)
    return Sent(sent.record.with_(envelope=forged.encode()), sent.y, sent.plain)


def opened(world: World, number: int) -> None:
    wait(lambda: world.open_round() == number, f"round {number} is open")


def report(world: World, number: int, good: list[ProtocolDevice], bad: list[ProtocolDevice]) -> dict[str, Any]:
    """Who is asked reports in round ``number``; the round when it is over."""
    opened(world, number)
    for device in bad:
        device.report(unopenable(device, device.commit()))
    for device in good:
        device.report()
    return wait(
        lambda: next((entry for entry in world.rounds()[number - 1 :] if entry["ended_at"]), None), "it is over"
    )


def test_one_device_whose_seeds_do_not_open_stalls_nobody(tmp_path: Path) -> None:
    with running(tmp_path, **RULES, stands_still=True) as world:
        bad, *good = world.enrolled(8)
        main = world.owner("main")
        ended = report(world, 1, good, [bad])
        assert (ended["state"], ended["reason"]) == ("abandoned", "too-many-rejected")
        for number in range(2, 2 + FIRST_ROUNDS):
            opened(world, number)
            # While this one is open: the round after the last of them asks it again, and may open any moment.
            assert bad.offer().manifest is None, "it is not asked"
            ended = report(world, number, good, [])
            assert (ended["state"], ended["participants"]) == ("complete", 7)
        ended = report(world, 6, good, [bad])
        assert ended["state"] == "abandoned", "asked again, it has sent the same"
        opened(world, 7)
        (line,) = main.status()["quarantined"]
        assert (line["device"], line["until"], line["left_out"]) == (bad.id.hex(), 7 + 2 * FIRST_ROUNDS, True)
        said = guide.now(world.main.overview.status(), world.main.overview.steps())
        assert line["name"] in said.text
        assert said.href == "/devices"
        assert [incident["type"] for incident in main.get("/api/v1/incidents")["incidents"]] == ["quarantined"] * 2
        assert main.status()["held"] is None
        assert world.audit() == []


def test_it_comes_back_by_the_operators_word_and_is_forgiven_when_it_reports_well(tmp_path: Path) -> None:
    with running(tmp_path, **RULES, stands_still=True) as world:
        devices = bad, *good = world.enrolled(8)
        main = world.owner("main")
        report(world, 1, good, [bad])
        opened(world, 2)
        answer = main.ask("POST", f"/api/v1/devices/{bad.id.hex()}/readmit")
        assert answer.status_code == 204, answer.text
        assert main.refused(f"/api/v1/devices/{bad.id.hex()}/readmit") == "not-left-out"
        report(world, 2, good, [])
        assert report(world, 3, [*devices], [])["participants"] == 8
        assert main.status()["quarantined"] == []
        assert {"quarantined", "readmitted"} <= set(world.log_types("main"))


def test_three_that_cannot_be_opened_are_left_out_at_once(tmp_path: Path) -> None:
    with running(tmp_path, **RULES, stands_still=True) as world:
        devices = world.enrolled(8)
        assert report(world, 1, devices[3:], devices[:3])["reason"] == "too-many-rejected"
        assert report(world, 2, devices[3:], [])["participants"] == 5


def test_where_the_others_are_too_few_rounds_are_tried_ever_more_seldom(tmp_path: Path) -> None:
    with running(tmp_path, **RULES, stands_still=True) as world:
        devices = bad, *good = world.enrolled(5)
        main = world.owner("main")
        for number in (1, 2, 3):
            assert report(world, number, good, [bad])["state"] == "abandoned"
        held = wait(lambda: main.status()["held"], "the next one waits")
        name = main.status()["quarantined"][0]["name"]
        assert (held["reason"], held["can_go_on"]) == ("in-vain", True)
        assert name in held["next"]
        assert world.open_round() is None
        main.ask("POST", "/api/v1/go-on")
        report(world, 4, good, [bad])
        report(world, 5, good, [bad])
        report(world, 6, good, [bad])
        wait(lambda: main.status()["held"], "it counts anew")
        world.clock.let_pass(600.0)
        assert report(world, 7, [*devices], [])["state"] == "complete"
        assert main.status()["quarantined"] == []
