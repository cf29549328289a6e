"""Round after round over the real services: by themselves, with devices that go and come, restarts, cohorts, keys."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from fanlight.errors import NotAuthentic, NotEnrolled, Refused, StorageError
from fanlight.protocol import identities
from fanlight.protocol.closing import Result
from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.manifest import SignedManifest
from fanlight.services.federation import revoke
from fanlight.storage.tables.device import small_files
from tests.services_world import CLIENT, ProtocolDevice, ServiceDevice, World, running, wait

FIGURES = ("accuracy_before", "accuracy_after", "balanced_accuracy_before", "balanced_accuracy_after")


def started(world: World, count: int) -> list[ServiceDevice]:
    """So many real devices, each of which knows of the open round."""
    devices = [world.add_device().start() for _ in range(count)]
    for device in devices:
        wait(device.sees_round, "a round is open for each device")
    return devices


def last_line(device: ServiceDevice) -> dict[str, Any] | None:
    """The latest round in the device's history, once it knows how that ended."""
    lines = device.owner.get("/api/v1/learning")["rounds"]
    return lines[-1] if lines and lines[-1]["result"] else None


def vectors_at(device: ServiceDevice) -> list[str]:
    """The y that a device has, in its database or as files."""
    assert device.role is not None
    store = device.role.store
    with store.database.reading() as tx:
        rows = [*tx.execute(select(small_files.c.name).where(small_files.c.name.endswith(".y"))).scalars()]
    return rows + [path.name for path in (store.folder / "reports").glob("*.y")]


def check_figures(world: World, rounds: list[dict[str, Any]]) -> None:
    """Each round tells of the model received, and of the local models that devices made of it, by class and cell."""
    for entry in rounds:
        said = world.owner("main").get(f"/api/v1/rounds/{entry['round']}")
        figures = said.pop("figures")
        assert said.items() >= entry.items()
        assert (figures["participants"], figures["classes"]) == (2, list(world.task.classes))
        assert figures["received"]["accuracy"] == entry["accuracy_before"]
        for both in (figures["received"], figures["local"]):
            assert sum(map(sum, both["confusion"])) == both["total"] == figures["received"]["total"] > 0
            assert [sum(row) for row in both["confusion"]] == [line["pictures"] for line in both["per_class"]]
    assert figures["model"] == world.owner("main").status()["model"]
    assert world.owner("main").ask("GET", "/api/v1/rounds/99").status_code == 404


def test_by_itself_it_runs_its_rounds_then_measures_then_rests(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, rounds=2) as world:
        devices = [world.add_device().start() for _ in range(2)]
        wait(lambda: world.owner("main").status()["finished"], "all rounds are over")
        first, second, measuring = rounds = world.rounds()
        assert [entry["kind"] for entry in rounds] == ["train", "train", "measure"]
        assert {(entry["state"], entry["participants"]) for entry in rounds} == {("complete", 2)}
        assert None not in [entry[figure] for entry in (first, second) for figure in FIGURES]
        assert first["accuracy_after"] == second["accuracy_before"]
        assert second["accuracy_after"] == measuring["accuracy_before"]
        check_figures(world, rounds)
        models = world.owner("main").get("/api/v1/models")["models"]
        assert [(model["version"], model["round"]) for model in models] == [(0, None), (1, 1), (2, 2)]
        for device in devices:
            line = wait(lambda device=device: last_line(device), "the device knows the end")  # type: ignore[misc]
            history = device.owner.get("/api/v1/learning")["rounds"]
            assert line["kind"] == "measure"
            assert [(entry["result"], entry["included"]) for entry in history] == [("released", True)] * 3
        world.check_traces()
        assert world.round_key("main") is None
        assert world.round_key("aggregator") is None
        assert not world.report_files()
        for device in devices:
            wait(lambda device=device: not vectors_at(device), "the device has deleted its y")  # type: ignore[misc]


def test_a_device_that_is_away_is_left_out_and_joins_again(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, wait_s=1) as world:
        third = [world.add_device().start() for _ in range(3)][2]

        def complete(participants: int, after: int) -> int | None:
            found = [entry for entry in world.rounds() if entry["state"] == "complete" and entry["round"] > after]
            return next((entry["round"] for entry in found if entry["participants"] == participants), None)

        together = wait(lambda: complete(3, 0), "a round of three")
        third.stop()
        alone = wait(lambda: complete(2, together), "a round without the third")
        third.start()
        wait(lambda: complete(3, alone), "a round of three again")


def test_a_restart_of_main_ends_no_round_for_devices_it_has_not_heard_of_yet(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, wait_s=86_400, stands_still=True) as world:
        devices = world.enrolled(6)
        for device in devices:
            device.offer()
        for device in devices[:2]:
            device.report()
        world.restart_main()
        wait(lambda: world.main.service.aggregator_connected, "the aggregator is back")
        assert not world.main.conductor.advance(), "nobody has had the time yet to say that it is there"
        for device in devices[2:]:
            device.report()
        wait(lambda: world.round(1, state="complete", participants=6), "all six are in the sum")
        ended = world.round(1) or {}
        assert ended["seconds"] == round(ended["ended_at"] - ended["opened_at"], 3), "all that is known of it"
        world.check_traces()


def test_a_clock_that_jumps_by_a_day_ends_no_round(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, wait_s=86_400, window_s=7 * 86_400, stands_still=True) as world:
        devices = world.enrolled(3)
        for device in devices:
            device.offer()
        for device in devices[:2]:
            device.report()
        assert not world.main.conductor.advance()
        world.clock.offset += 86_400
        assert not world.main.conductor.advance(), "nobody is away, and it has not waited for a day"
        assert world.main.service.aggregator_connected
        assert world.owner("main").status()["devices"]["here"] == 3
        devices[2].report()
        wait(lambda: world.round(1, state="complete", participants=3), "all three are in the sum")
        assert (world.round(1) or {})["seconds"] < 3_600, "nor did it last for a day"
        world.check_traces()


@pytest.mark.parametrize("jump_s", [86_400, -86_400], ids=["forward", "back"])
def test_a_step_by_hand_waits_for_a_minute_however_the_clock_jumps(jump_s: float, tmp_path: Path) -> None:
    with running(tmp_path) as world:
        for device in world.enrolled(2):
            device.report()
        world.stop_aggregator()
        main = world.owner("main")
        job = main.start("/aggregate_models")
        wait(lambda: main.get(job)["progress"]["fraction"] > 0, "it waits")
        world.clock.offset += jump_s
        time.sleep(1.2)  # it has looked at the clock twice
        assert main.get(job)["state"] == "running"
        world.clock.let_pass(61)
        ended = wait(lambda: main.get(job) if main.get(job)["state"] != "running" else None, "the step gives up")
        assert ended["error"]["message"] == "The secure aggregator has not followed the order."
        world.start_aggregator()
        wait(lambda: world.round(1, state="released"), "the order stands")
        main.step("/send_model_clients")
        world.check_traces()


def test_a_late_word_on_a_round_that_is_over_leaves_the_open_one_its_own(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, wait_s=86_400, stands_still=True) as world:
        first, second, third = world.enrolled(3)
        over = first.report().record.mh
        third.main.decline(over, "below-floor")
        second.report()
        wait(lambda: world.open_round() == 2, "the second round is open")
        present = SignedManifest.decode(first.offer().manifest or b"").hash
        for device in (second, third):
            device.offer()
        third.main.decline(present, "below-floor")
        second.main.decline(over, "paused")
        assert world.owner("main").get("/api/v1/rounds/2/timeline")["declined"] == {"below-floor": 1}
        first.report()
        assert not world.main.conductor.advance(), "the second one is waited for"
        second.report()
        wait(lambda: world.round(2, state="complete", participants=2), "the third one is not")
        world.check_traces()


def test_an_abandoned_round_is_listed_and_the_next_one_opens(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, rounds=2, window_s=600) as world:
        present, silent = world.add_device().start(), world.protocol_device()
        silent.enrol()
        wait(lambda: world.snapshot()["reports"], "the first report is here")
        first = SignedManifest.decode(silent.offer().manifest or b"").hash
        world.clock.offset += 601
        entry = wait(lambda: world.round(1, state="abandoned"), "the first round is given up")
        assert [entry[figure] for figure in FIGURES] == [None] * 4
        assert (entry["participants"], entry["reason"]) == (0, "window-passed")
        wait(lambda: world.open_round() == 2, "the next round is open")
        silent.report()  # the other device answers the same plan and model again: nothing was released
        wait(lambda: world.round(2, state="complete", participants=2), "the second round is complete")
        wait(lambda: world.open_round() == 3, "the measuring round is open")

        def results() -> list[Any] | None:
            lines = present.owner.get("/api/v1/learning")["rounds"][:2]
            found = [line["result"] for line in lines]
            return found if len(found) == 2 and None not in found else None

        assert wait(results, "the device knows how both ended") == [Result.ABANDONED, Result.RELEASED]
        outcome = silent.outcome(first)
        assert outcome.proof is None
        assert {kept.number for role in world.ports if (kept := world.round_key(role)) is not None} == {3}
        world.check_traces()


def test_a_restart_of_anyone_between_any_steps_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, second = started(world, 2)
        first.owner.step("/modeltrain")
        first.restart()
        first.owner.step("/sendstatus")
        world.restart_main()
        first.owner.step("/sendmodel")
        world.restart_aggregator()
        second.send_model()
        first.restart()
        assert first.owner.refused("/sendmodel") == "already-sent"
        world.owner("aggregator").step("/aggregate_models")
        world.restart_main()
        world.restart_aggregator()
        world.owner("aggregator").step("/send_model_secagg")
        world.restart_main()
        world.owner("main").step("/send_model_clients")
        wait(lambda: world.open_round() == 2, "the second round is open")
        assert world.round(1, state="complete", participants=2)
        for device in (first, second):
            line = wait(lambda device=device: last_line(device), "the device knows the end")  # type: ignore[misc]
            assert (line["result"], line["included"]) == ("released", True)
        world.check_traces()


@pytest.mark.parametrize("by_itself", [True, False])
def test_an_aggregator_that_never_heard_mains_answer_to_its_release_goes_on(
    tmp_path: Path, by_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, by_itself=by_itself, rounds=2) as world:
        devices = world.enrolled(2)
        heard = world.aggregator.service.rounds.finish

        def never(data: bytes) -> bytes:
            raise StorageError("the power fails")

        monkeypatch.setattr(world.aggregator.service.rounds, "finish", never)
        sent = [device.report() for device in devices]
        if not by_itself:
            world.aggregate()
        wait(lambda: world.round(2), "main goes on with the second round")
        released = world.aggregator.service.rounds.latest()
        assert released is not None
        assert (released.record.number, released.record.state) == (1, "released")
        if by_itself:
            world.restart_aggregator()
        else:
            monkeypatch.setattr(world.aggregator.service.rounds, "finish", heard)
        wait(lambda: world.open_round() == 2, "the second round is open")
        for device, report in zip(devices, sent, strict=True):
            assert device.device.end(report.record, device.outcome(report.record.mh)).was_included
        world.check_traces()
        assert world.log_types("aggregator").count("release") == 1


def test_only_the_sampled_cohort_reports(tmp_path: Path) -> None:
    with running(tmp_path, cohort_size=2) as world:
        devices = world.enrolled(3)
        invited = [device for device in devices if device.offer().manifest]
        left_out = [device for device in devices if device not in invited]
        assert (len(invited), len(left_out)) == (2, 1)
        for device in invited:
            device.report()
        intruder, manifest = left_out[0], SignedManifest.decode(invited[0].offer().manifest or b"")
        before = world.snapshot()
        with pytest.raises(Refused) as refused:
            intruder.upload(intruder.commit_to(manifest))
        assert refused.value.slug == "not-invited"
        assert world.snapshot() == before
        world.aggregate()
        assert world.round(1, state="complete", participants=2)
        world.check_traces()


def test_a_device_changes_its_key_and_another_is_revoked(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, second, third = started(world, 3)
        old = (first.settings.state / "device.key").read_bytes()
        assert first.owner.ask("POST", "/api/v1/key").json() == {"device": first.id}
        assert (first.settings.state / "device.key").read_bytes() != old
        for device in (first, second, third):
            device.send_model()
        assert first.owner.ask("POST", "/api/v1/key").json()["error"]["slug"] == "report-on-its-way"
        world.aggregate()
        assert world.round(1, state="complete", participants=3)

        revocation = revoke(world.federation, third.id, int(world.clock()))
        for port in world.ports.values():
            answer = CLIENT.post(f"{port.url}{PREFIX}/revocations", content=revocation.body)
            assert answer.status_code == 204
        wait(lambda: world.owner("main").status()["members"] == 2, "main has two members")
        wait(lambda: world.owner("aggregator").status()["members"] == 2, "the aggregator has two members")
        problem = wait(lambda: third.owner.status()["problem"], "the revoked device notices")
        assert problem["slug"] in ("not-enrolled", "revoked")
        for device in (first, second):
            wait(lambda device=device: (device.sees_round() or {}).get("round") == 2, "round 2 is offered")  # type: ignore[misc]
            device.send_model()
        world.aggregate()
        assert world.round(2, state="complete", participants=2)
        world.check_traces()
        for role in world.ports:
            assert {"rekeyed", "revoked"} <= set(world.log_types(role))


def test_a_change_of_key_whose_answer_was_lost_is_taken_again(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        device = world.enrolled(2)[0]
        new = Ed25519PrivateKey.generate()
        change = identities.rekey(device.device.trust.fid, device.id, device.private, new)
        for server in (device.main, device.aggregator):
            assert server.rekey(change).device == device.id
            with pytest.raises((NotAuthentic, NotEnrolled)):
                server.rekey(change)  # the old key signs nothing any more
            server.remote.use_key(new)
            assert server.rekey(change).device == device.id
        renewed = ProtocolDevice(world, device.token, new)
        before = world.snapshot()
        for server in (renewed.main, renewed.aggregator):  # a new device with the key of an old one is another one
            with pytest.raises(NotEnrolled):
                server.rekey(change)
        assert world.snapshot() == before
        for role in world.ports:
            assert world.log_types(role).count("rekeyed") == 1
