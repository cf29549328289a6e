"""A member that sends garbage fails a round; the next one is summed in shards, names its shard, and learns."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fanlight.consoles import main_server as main_pages
from fanlight.errors import NotFound, NotPossibleNow
from fanlight.learning.datasets import shapes
from fanlight.protocol.closing import SHARD_LEFT_OUT, Outcome, OutcomeForDevice, read_releases
from fanlight.protocol.manifest import SignedManifest
from fanlight.services.main_server import round_table
from tests.crash.federation import SERVERS, Federation
from tests.crash.role import LIMIT_S, until
from tests.e2e.test_policy import change
from tests.garbage import as_garbage, launch_cheat
from tests.services_world import ProtocolDevice, Sent, World, draw, running, wait
from tests.unit.consoles.federation import Page, owner


def report_garbage(device: ProtocolDevice) -> Sent:
    sent = device.commit()
    record, y = as_garbage(device.private, sent.record)
    return device.report(Sent(record, y, sent.plain))


def reported(devices: list[ProtocolDevice], cheat: ProtocolDevice | None = None) -> dict[bytes, Sent]:
    """All report, the cheat garbage."""
    return {device.id: report_garbage(device) if device is cheat else device.report() for device in devices}


def terms(world: World) -> Any:
    latest = world.aggregator.service.rounds.latest()
    assert latest is not None
    return latest.record.terms.proposal


def ended(device: ProtocolDevice, sent: Sent) -> OutcomeForDevice:
    """What main tells a device of its round, once both servers have signed it."""

    def over() -> OutcomeForDevice | None:
        try:
            return device.outcome(sent.record.mh)
        except NotFound:
            return None

    return wait(over, "the round is over")


def is_open(world: World, number: int) -> bool:
    return world.open_round() == number


def told(world: World, number: int) -> Any:
    return world.owner("main").get(f"/api/v1/rounds/{number}")


def test_one_cheat_is_left_out_with_its_shard_and_everybody_can_see_who(tmp_path: Path) -> None:
    with running(tmp_path, stands_still=True) as world:
        devices = world.enrolled(6)
        cheat = devices[3]
        reported(devices, cheat)
        assert terms(world).shards is None
        world.owner("main").ended("/aggregate_models")
        assert wait(lambda: world.round(1, state="failed"), "the first round has failed")

        assert wait(lambda: world.open_round() == 2, "the next round is open")
        assert (terms(world).shards, terms(world).attempt) == (3, 1)
        assert told(world, 2)["shards"] == {"drawn": 3, "summed": []}
        sent = reported(devices, cheat)
        world.aggregate()
        assert wait(lambda: world.round(2, state="complete", participants=4), "the second round is complete")
        assert world.owner("main").status()["model"]["version"] == 1

        shown = told(world, 2)
        assert shown["reason"] == SHARD_LEFT_OUT
        summed = shown["shards"]["summed"]
        (bad,) = [shard for shard in summed if shard["reason"] != "ok"]
        left_out = {line["device"] for line in bad["devices"]}
        assert cheat.id.hex() in left_out
        assert [len(shard["devices"]) for shard in summed] == [2, 2, 2]
        assert "shard-left-out" in world.log_types("main")
        incidents = world.owner("main").get("/api/v1/incidents")["incidents"]
        assert [incident["type"] for incident in incidents] == [SHARD_LEFT_OUT]
        lanes = world.owner("main").get("/api/v1/rounds/2/timeline")["devices"]
        assert {lane["device"] for lane in lanes if lane["step"] == "left-out"} == left_out
        assert world.owner("main").get("/api/v1/rounds/2/bytes")["sum"] == 3 * 4 * terms_words(world, 2)
        held = world.owner("aggregator").get("/api/v1/rounds/held")["rounds"]
        (line,) = [line for line in held if line["round"] == 2]
        assert [shard["reason"] == "ok" for shard in line["summed"]] == [shard["reason"] == "ok" for shard in summed]
        for device in devices:
            answer = ended(device, sent[device.id])
            end = device.device.end(sent[device.id].record, answer)
            assert end.was_included == (device.id.hex() not in left_out)
            assert bool(end.left_out) == (device.id.hex() in left_out)
        outcome = Outcome.decode(answer.outcome.payload)
        assert outcome.shards is not None
        assert len({shard.set_root for shard in outcome.shards}) == 3

        main_pages.install(world.apps["main"], world.main)
        page = Page.of(owner(world.apps["main"], world.ports["main"].url).get("/rounds/2")).text
        assert "drew the devices into 3 shards before any of them reported" in " ".join(page.split())
        assert page.count("left out") >= 3, "the shard, and both devices in their lanes"

        # Until no shard is left out any more, rounds go on in shards; then they are whole again.
        for number, shards in ((3, 3), (4, None)):
            assert wait(partial(is_open, world, number), "the next round is open")
            assert terms(world).shards == shards
            reported(devices)
            world.aggregate()
            assert world.round(number, state="complete", participants=6)
        world.check_traces()


def terms_words(world: World, number: int) -> int:
    with world.main.service.database.reading() as tx:
        stored = round_table.whole(tx, number)
    return SignedManifest.decode(stored.record.manifest).terms.length


def test_the_sums_of_shards_add_up_to_the_plain_sum_whoever_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    from fanlight.services.main_server.rounds import Rounds

    def keep(rounds: Rounds, _tx: object, _stored: object, step: Any) -> None:
        seen.append(step.totals)
        real(rounds, _tx, _stored, step)  # type: ignore[arg-type]

    real = Rounds._use
    monkeypatch.setattr(Rounds, "_use", keep)
    with running(tmp_path, shards="always", stands_still=True) as world:
        devices = world.enrolled(2)
        assert terms(world).shards is None, "two are too few for shards of two"
        devices += [world.protocol_device() for _ in range(5)]
        for device in devices[2:]:
            device.enrol()
        world.wait_members([device.id for device in devices])
        world.owner("main").ask("POST", "/api/v1/rounds/1/abandon")
        assert wait(lambda: world.open_round() == 2, "the next round is open")
        assert terms(world).shards == 3
        late = world.protocol_device()
        late.enrol()
        world.wait_members([late.id])
        assert late.offer().manifest is None, "places are drawn already: it waits for the next round"
        sent = reported(devices[:6])
        world.aggregate()
        (totals,) = seen
        assert totals.count == 6
        assert totals.weight == sum(int(one.plain[0]) for one in sent.values())
        (line, *_) = [line for line in world.owner("aggregator").get("/api/v1/rounds/held")["rounds"] if line["summed"]]
        assert sum(shard["devices"] for shard in line["summed"]) == 6
        assert all(shard["devices"] >= 2 for shard in line["summed"])
        for device in devices[:6]:
            answer = ended(device, sent[device.id])
            assert device.device.end(sent[device.id].record, answer).was_included


def test_a_proposal_that_waited_is_given_up_for_one_that_has_shards_by_now(tmp_path: Path) -> None:
    with running(tmp_path, paused=True, stands_still=True) as world:
        devices = [world.protocol_device() for _ in range(4)]
        for device in devices:
            device.enrol()
        world.wait_members([device.id for device in devices])
        world.stop_aggregator()
        change(world, paused=False)
        assert wait(lambda: world.round(1, state="proposed"), "the round is proposed")
        change(world, shards="always")
        world.start_aggregator()
        assert wait(lambda: world.round(1, state="abandoned", reason="made-room-for-rules"), "it is given up")
        assert wait(lambda: world.open_round() == 2, "the next round is open")
        assert terms(world).shards == 2


@pytest.mark.parametrize("lost", ["sum", "report"])
def test_shards_are_released_once_whatever_is_lost_or_started_again(lost: str, tmp_path: Path) -> None:
    with running(tmp_path, shards="always", stands_still=True) as world:
        devices = world.enrolled(4)
        world.owner("main").ask("POST", "/api/v1/rounds/1/abandon")
        assert wait(lambda: world.open_round() == 2, "the next round is open")
        assert terms(world).shards == 2
        world.restart_aggregator()
        world.restart_main()
        assert wait(lambda: world.open_round() == 2, "the round is open still")
        world.wait_members([device.id for device in devices])
        reported(devices)
        world.owner("aggregator").step("/aggregate_models")
        signed, _ = world.aggregator.service.rounds.release()
        name = next(name for name in world.report_files() if name.endswith(".sum") == (lost == "sum"))
        world.aggregator.service.files.delete(name)
        world.restart_aggregator()
        with suppress(NotPossibleNow):  # the aggregator's own loop may have been faster
            world.aggregator.service.release_round()
        assert wait(lambda: world.round(2, state="released", participants=4), "main has the sums")
        with world.main.service.database.reading() as tx:
            assert round_table.whole(tx, 2).record.release == signed, "and they are those that were signed first"
        assert [release.shard for release in read_releases(signed)] == [1, 2]
        world.restart_main()
        world.owner("main").step("/send_model_clients")
        assert world.log_types("aggregator").count("release") == world.log_types("main").count("release") == 2
        world.check_traces()


@pytest.mark.timeout(3 * LIMIT_S)
def test_with_real_processes_the_round_after_a_failed_one_learns_without_the_cheats_shard(tmp_path: Path) -> None:
    pictures = tuple(tmp_path / f"pictures-{number}" for number in range(6))
    for number, folder in enumerate(pictures):
        draw(folder, number, {"train": 6, "valid": 2, "test": 4}, shapes.CLASSES)
    federation = Federation(tmp_path, pictures, by_itself=True, paused=True)
    federation.roles["device-4"].program = launch_cheat
    try:
        for role in federation.roles.values():
            role.start()

        def members() -> bool:
            status = federation.ask("aggregator", "/api/v1/status")
            return bool(status) and status["members"] == 6

        until(members, "all are members at both servers", federation.summary)
        federation.press("main", "/api/v1/go-on")

        def rounds() -> list[dict[str, Any]]:
            answer = federation.ask("main", "/api/v1/rounds")
            return answer["rounds"] if answer else []

        def learned() -> bool:
            return len(rounds()) > 2 and rounds()[1]["accuracy_after"] is not None

        until(learned, "the version of the second round is measured by the third", federation.summary)
        first, second = rounds()[:2]
        assert (first["state"], second["state"], second["participants"]) == ("failed", "complete", 4)
        assert second["reason"] == SHARD_LEFT_OUT
        assert second["accuracy_after"] > second["accuracy_before"]
        summed = federation.ask("main", "/api/v1/rounds/2")["shards"]["summed"]
        (bad,) = [shard for shard in summed if shard["reason"] != "ok"]
        assert len(summed) == 3
        assert "device-4" in [device["name"] for device in bad["devices"]]

        def end_of_second(name: str) -> Any:
            """What a device knows of it: it may be measured before the last one has asked how it ended."""
            lines = (federation.ask(name, "/api/v1/learning") or {"rounds": []})["rounds"]
            return next((line for line in lines if line["round"] == 2 and line["result"]), None)

        for name in federation.devices:
            line = until(partial(end_of_second, name), f"{name} knows how the second round ended", federation.summary)
            assert line["included"] == (name not in [device["name"] for device in bad["devices"]])
        for name in SERVERS:
            assert federation.roles[name].is_running
    finally:
        federation.close()
