"""Simulated devices at live servers, in threads: what they learn is summed, and only as their owner allows."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.cli.federation import REVOCATIONS_PATH
from fanlight.errors import Conflict, FanlightError, NotPossibleNow, SettingsError, StorageError, Unreachable
from fanlight.learning import model_file
from fanlight.services.federation import TASK_FILE, revoke
from fanlight.services.fleet.connecting import floors
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.simulation.memories import Memories
from fanlight.storage.folder_lock import FolderLock
from tests.fleets import DEMO, Seen, all_in, data_of, fleet
from tests.services_world import CLIENT, World, running, wait


def members(world: World) -> set[str]:
    return {device["device"] for device in world.owner("main").get("/api/v1/devices")["devices"]}


def published_sha256(world: World, version: int) -> str:
    """Of the numbers of a version, as results have it."""
    model = model_file.decode(world.owner("main").ask("GET", f"/api/v1/models/{version}/file").content)
    return hashlib.sha256(model.layout.flatten(model.tensors).astype("<f4").tobytes()).hexdigest()


def test_they_learn_together_and_each_verifies_that_it_was_summed(tmp_path: Path) -> None:
    seen = Seen()
    with running(tmp_path / "world", by_itself=True, rounds=3, paused=True) as world:
        with all_in(world, 6):
            result = fleet(world, tmp_path / "fleet", seen=seen, rounds=3)
        assert result is not None
        assert [line.round for line in result.rounds] == [1, 2, 3]
        for line in seen.lines:
            assert line.live is not None
            entry = world.round(line.round)
            assert entry is not None
            assert line.participants == entry["participants"] == 6
            assert (line.live["built"], line.live["sent"], line.live["included"]) == (6, 6, 6)
            assert line.live["version"] == line.round
            assert min(line.bytes_up, line.bytes_down) > 6 * 4 * 1281 * 2
        assert result.rounds[-1].accuracy > 0.9
        assert result.rounds[-1].loss < result.rounds[0].loss
        assert result.model_sha256 == published_sha256(world, 3)
        assert result.live is not None
        assert result.live["without_version"] == [{"round": 4, "kind": "measure", "result": "released", "reason": "ok"}]
        measured = world.round(4)
        assert measured is not None
        assert measured["participants"] == 6
        assert world.audit() == []
    assert {"result.json", "report.html", "model.safetensors"} <= {path.name for path in (tmp_path / "fleet").iterdir()}


def test_what_main_measures_over_a_fleet_is_what_is_held_back(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True, rounds=1, paused=True) as world:
        with all_in(world, 6):
            result = fleet(world, tmp_path / "fleet", rounds=1)
        assert result is not None
        wait(lambda: world.round(2, state="complete"), "the version is measured")
        found = world.owner("main").get("/api/v1/models/1")
        assert found["metrics"]["accuracy"] == pytest.approx(result.rounds[-1].accuracy)


def test_another_run_goes_on_as_the_same_devices(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True) as world:
        fleet(world, tmp_path / "fleet", rounds=1)
        before = members(world)
        result = fleet(world, tmp_path / "fleet", rounds=2)
        assert result is not None
        assert result.rounds[0].round == 1
        assert len(result.rounds) == 2
        assert members(world) == before
        assert len(before) == 6
        again = fleet(world, tmp_path / "fleet", rounds=2)
        assert again is not None
        assert again.rounds == result.rounds
        with pytest.raises(SettingsError, match="begun with partition iid") as other:
            fleet(world, tmp_path / "fleet", partition="classes:1")
        assert other.value.slug == "other-devices"
        with pytest.raises(Conflict, match="crowd-1 was used by another device"):
            fleet(world, tmp_path / "elsewhere")


def test_by_hand_they_announce_and_wait_for_the_operator(tmp_path: Path) -> None:
    with running(tmp_path / "world") as world:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(fleet(world, tmp_path / "fleet", rounds=1)))
        thread.start()

        def ready() -> bool:
            devices = world.owner("main").get("/api/v1/devices")["devices"]
            return len(devices) == 6 and all(device["ready"] for device in devices)

        wait(ready, "all have announced")
        wait(lambda: world.owner("main").get("/api/v1/rounds/1/timeline")["counts"]["report"] == 6, "all have reported")
        world.aggregate()
        thread.join()
        assert found[0].rounds[0].participants == 6


@pytest.mark.parametrize(
    ("policy", "allowed", "slug"),
    [
        ({"demo": True}, floors(k_min=5, accept_demo=False), "demo-refused"),
        ({"demo": False, "k_min": 3}, floors(k_min=5, accept_demo=True), "below-floor"),
    ],
)
def test_what_its_owner_does_not_allow_is_not_answered(
    policy: dict[str, Any], allowed: Any, slug: str, tmp_path: Path
) -> None:
    with running(tmp_path / "world", by_itself=True, **policy) as world:
        with pytest.raises(NotPossibleNow) as refused:
            fleet(world, tmp_path / "fleet", allowed=allowed)
        assert refused.value.slug == slug
        assert "--accept-demo" in refused.value.next or "--k-min" in refused.value.next
        assert world.snapshot()["reports"] == 0
        wait(lambda: slug in world.main.service.presence.declined(1).values(), "main heard why")


def test_with_a_floor_that_is_lower_they_join(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True, demo=False, k_min=3, paused=True) as world:
        allowed = floors(k_min=3, accept_demo=False)
        with all_in(world, 6):
            result = fleet(world, tmp_path / "fleet", rounds=1, allowed=allowed)
        assert result is not None
        assert result.rounds[0].participants == 6


def test_who_drops_out_is_not_in_the_sum(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True, wait_s=1) as world:
        result = fleet(world, tmp_path / "fleet", 12, rounds=2, world="random:0.8+drop:train=0.2,report=0.2")
        assert result is not None
        for line in result.rounds:
            assert line.live is not None
            assert 2 <= line.participants == line.live["included"] == line.live["sent"] < 12
        assert sum(line.live["built"] - line.live["sent"] for line in result.rounds if line.live) > 0
        assert world.audit() == []


@pytest.mark.parametrize("attack", ["sign-flip:0.34,factor=30", pytest.param("label-flip:0.5", marks=pytest.mark.long)])
def test_cheats_work_together_within_what_every_report_is_held_to(attack: str, tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True, paused=True) as world, all_in(world, 6):
        honest = fleet(world, tmp_path / "honest", rounds=2)
        assert honest is not None
    with running(tmp_path / "attacked", by_itself=True, paused=True) as world, all_in(world, 6):
        attacked = fleet(world, tmp_path / "cheats", rounds=2, attack=attack)
        assert attacked is not None
        assert attacked.rounds[-1].participants == 6
        assert attacked.rounds[-1].loss > honest.rounds[-1].loss


def test_what_an_algorithm_remembers_counts_once_it_was_summed(tmp_path: Path) -> None:
    world = World(tmp_path / "world", by_itself=True, n_max=6, most_pictures=100, paused=True)
    task = world.task.model_copy(update={"algorithm": AlgorithmChoice(name="scaffold")})
    (world.federation / "main" / TASK_FILE).write_bytes(task.to_json())
    try:
        world.start()
        with all_in(world, 6):
            result = fleet(world, tmp_path / "fleet", rounds=3)
        model = model_file.decode(world.owner("main").ask("GET", "/api/v1/models/3/file").content)
    finally:
        world.close()
    assert result is not None
    assert result.study["algorithm"].startswith("scaffold")
    assert model.control is not None
    files = [Memories(tmp_path / "fleet" / "memories").read(device, 3)["own_control"] for device in range(6)]
    mean = np.mean(files, axis=0)
    assert np.abs(mean).max() > 1e-3
    assert np.allclose(model.layout.flatten(model.control.tensors), mean, atol=5e-5)
    kept = sorted((tmp_path / "fleet" / "memories").rglob("*.safetensors"))
    assert {path.stem.partition("-")[2] for path in kept} <= {"2", "3", "4"}


def test_heads_are_solved_from_the_sums_of_a_fleet(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True, head="analytic", k_min=2, paused=True) as world:
        with all_in(world, 6):
            result = fleet(world, tmp_path / "fleet", rounds=2)
        assert result is not None
        assert [line.live and line.live["kind"] for line in result.rounds] == ["statistics", "train"]
        assert result.rounds[0].accuracy > 0.9
        assert world.audit() == []


def test_a_device_that_comes_later_joins_the_sums(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True, head="analytic", k_min=2, rounds=1, paused=True) as world:
        with all_in(world, 6):
            fleet(world, tmp_path / "first", rounds=1)
        result = fleet(world, tmp_path / "later", name="later", rounds=1)
        assert result is not None
        assert result.rounds[0].live is not None
        assert result.rounds[0].live["kind"] == "changes"
        assert world.audit() == []


def test_who_is_put_out_is_missing_and_the_others_go_on(tmp_path: Path) -> None:
    seen = Seen()
    with running(tmp_path / "world", by_itself=True, paused=True) as world, all_in(world, 6):
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(fleet(world, tmp_path / "fleet", rounds=8, seen=seen)))
        thread.start()
        wait(lambda: seen.lines, "a round is over")
        world.main.service.change_policy(paused=True)  # or all rounds may be over before it is out
        body = revoke(world.federation, "crowd-2", int(world.clock())).body
        for port in world.ports.values():
            answer = CLIENT.post(
                port.url + REVOCATIONS_PATH, content=body, headers={"Content-Type": "application/cbor"}
            )
            assert answer.is_success, answer.text
        world.main.service.change_policy(paused=False)
        thread.join()
        assert found[0].rounds[0].participants == 6
        assert found[0].rounds[-1].participants == 5
        assert any("revoked" in each and "others go on" in each for each in seen.news)


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True) as world:
        world.stop_main()
        with pytest.raises(Unreachable, match="does not answer"):
            fleet(world, tmp_path / "fleet")


def test_servers_may_be_started_again_meanwhile(tmp_path: Path) -> None:
    seen = Seen()
    with running(tmp_path / "world", by_itself=True) as world:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(fleet(world, tmp_path / "fleet", rounds=6, seen=seen)))
        thread.start()
        wait(lambda: seen.lines, "a round is over")
        world.restart_main()
        wait(lambda: len(seen.lines) >= 3, "rounds go on")
        world.restart_aggregator()
        thread.join()
        assert len(found[0].rounds) == 6
        assert {line.live["built"] - line.live["included"] for line in found[0].rounds} == {0}
        assert world.audit() == []


@pytest.mark.parametrize(
    ("classes", "error", "slug"),
    [(("cat", "dog"), SettingsError, "other-classes"), (("square", "circle", "star"), SettingsError, "other-classes")],
)
def test_pictures_of_something_else_are_refused(
    classes: tuple[str, ...], error: type[FanlightError], slug: str, tmp_path: Path
) -> None:
    with running(tmp_path / "world", by_itself=True) as world:
        with pytest.raises(error) as refused:
            fleet(world, tmp_path / "fleet", data=data_of(*classes))
        assert refused.value.slug == slug
        result = fleet(world, tmp_path / "fleet", data=data_of("square", "circle"), rounds=2)  # in another order
        assert result is not None
        assert result.rounds[-1].accuracy > 0.9


def test_a_folder_is_used_by_one_process(tmp_path: Path) -> None:
    with running(tmp_path / "world", by_itself=True) as world:
        lock = FolderLock(tmp_path / "fleet")
        lock.acquire()
        with pytest.raises(StorageError) as refused:
            fleet(world, tmp_path / "fleet", allowed=DEMO)
        lock.release()
        assert refused.value.slug == "state-in-use"
