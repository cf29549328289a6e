"""A server that waits for nobody: who reports when, for which version, and what becomes of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from fanlight.errors import SettingsError
from fanlight.protocol.plan import Kind
from fanlight.simulation import Line, Result, simulate
from fanlight.simulation.buffered import AtWork, Buffer, collect, durations, staleness_figures
from fanlight.simulation.engines.inline import Inline
from fanlight.simulation.laboratory import _run
from fanlight.simulation.learners import Published
from fanlight.simulation.orders import Order
from fanlight.simulation.report import page
from fanlight.simulation.worlds.hardware import Work
from fanlight.simulation.worlds.world import World
from tests.unit.simulation.studies import data_of, study_of

DEVICES = 12
LINES = ("", "speeds:mixed,jitter=1", "drop:train=0.4", "random:0.3", "drop:model=1", "leave:0.5,from=2,to=6")


def result_of(algorithm: str, engine: str = "inline", workers: int = 1, **changes: Any) -> Result:
    fields: dict[str, Any] = {"cohort": 4, "rounds": 6, **changes}
    return simulate(study_of(algorithm=algorithm, **fields), data_of(), engine=engine, workers=workers)


def figures(result: Result) -> list[dict[str, Any]]:
    unlike = ("seconds", "phases", "device_seconds")
    return [{k: v for k, v in dataclasses.asdict(line).items() if k not in unlike} for line in result.rounds]


def test_it_is_not_fedavg() -> None:
    plain, buffered = result_of("fedavg"), result_of("fedbuff")
    assert plain.model_sha256 != buffered.model_sha256
    assert all(line.staleness is None for line in plain.rounds)
    told = [line.staleness for line in buffered.rounds]
    assert told[0] == {"mean": 0.0, "max": 0}
    assert max(each["max"] for each in told if each) >= 2
    assert [line.participants for line in buffered.rounds] == [4] * 6


@pytest.mark.parametrize("world", ["", "speeds:mixed+drop:model=0"])
def test_with_as_many_places_as_the_buffer_takes_it_is_fedavg_bit_for_bit(world: str) -> None:
    plain, buffered = result_of("fedavg", world=world), result_of("fedbuff:concurrency=4", world=world)
    assert buffered.model_sha256 == plain.model_sha256
    assert [line.staleness for line in buffered.rounds] == [{"mean": 0.0, "max": 0}] * 6
    assert [line.simulated_seconds for line in buffered.rounds] == [line.simulated_seconds for line in plain.rounds]


@pytest.mark.parametrize("world", ["", "speeds:mixed,jitter=0.5+drop:train=0.2+diurnal:12"])
def test_the_bits_do_not_depend_on_workers(world: str) -> None:
    one, three = result_of("fedbuff", world=world), result_of("fedbuff", "forked", 3, world=world)
    assert one.model_sha256 == three.model_sha256
    assert figures(one) == figures(three)


def test_an_interrupted_run_goes_on_with_the_versions_that_devices_at_work_began_from(tmp_path: Path) -> None:
    study, whole = study_of(algorithm="fedbuff:concurrency=12", cohort=3, rounds=8), list[Line]()

    def stop(line: Line) -> None:
        if line.round == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(study, data_of(), folder=tmp_path, on_round=stop, engine="inline")
    resumed = simulate(study, data_of(), folder=tmp_path, on_round=whole.append, engine="inline")
    assert [line.round for line in whole] == [5, 6, 7, 8]
    assert max(line.staleness["max"] for line in whole if line.staleness) >= 2
    assert resumed.model_sha256 == simulate(study, data_of(), engine="inline").model_sha256


def test_a_run_from_before_there_were_buffers_goes_on(tmp_path: Path) -> None:
    simulate(study_of(rounds=2), data_of(), folder=tmp_path)
    file = tmp_path / "checkpoint.safetensors"
    with safe_open(file, "numpy") as opened:
        metadata = json.loads(opened.metadata()["fanlight"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 not a dictionary
    del metadata["buffer"]
    file.write_bytes(save(tensors, {"fanlight": json.dumps(metadata)}))
    resumed = simulate(study_of(rounds=3), data_of(), folder=tmp_path)
    assert resumed.model_sha256 == simulate(study_of(rounds=3), data_of()).model_sha256


def test_the_report_draws_staleness_where_there_can_be_any() -> None:
    assert "Staleness of updates, versions" in page(result_of("fedbuff"))
    assert "Staleness" not in page(result_of("fedavg"))


def test_an_update_for_an_older_version_counts_less_in_the_sum(tmp_path: Path) -> None:
    """The same training, from the same version, three versions later: half of it, up to rounding."""
    run = _run(study_of(algorithm="fedbuff", cohort=4), data_of(), tmp_path, None, "inline", 1, lambda _: None)
    start = run.server.first(run.workshop.learner.start(), run.study.clip)
    sums = []
    for staleness in (0, 3):
        order = Order(1, Kind.TRAIN, start.clip_micro, [[0]], staleness=staleness)
        done = Inline(run.workshop).carry_out(order, Published(start.parameters, {}))
        steps = run._totals(order, done).steps
        assert steps is not None
        sums.append(steps.astype(np.float64))
    fresh, old = sums
    np.testing.assert_allclose(old, fresh / 2, atol=2)
    assert np.abs(fresh).max() > 200


def test_a_head_that_is_solved_first_goes_on_so() -> None:
    result = result_of("fedbuff", head="prototypes")
    assert [line.staleness is None for line in result.rounds] == [True] + [False] * 5


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"cohort": 0}, "cohort says how many updates"),
        ({"algorithm": "fedbuff:concurrency=3"}, "concurrency=3 is below the cohort of 4"),
        ({"algorithm": "fedbuff:concurrency=13"}, "above the 12 devices"),
        ({"shards": 2}, "no round of the protocol"),
        ({"fidelity": "protocol"}, "no round of the protocol"),
        ({"world": "deadline:60"}, "leave over and deadline out"),
        ({"world": "over:20"}, "leave over and deadline out"),
        ({"attack": "sign-flip:0.2"}, "choose label-flip, or backdoor"),
        ({"attack": "backdoor:0.2,factor=3"}, "backdoor without factor"),
    ],
)
def test_what_it_does_not_go_with(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        study_of(**{"algorithm": "fedbuff", "cohort": 4, **changes})


def test_cheats_that_lie_about_their_pictures_may_be_there() -> None:
    study_of(algorithm="fedbuff", cohort=4, attack="backdoor:0.5")
    assert result_of("fedbuff", attack="label-flip:0.5").model_sha256 != result_of("fedbuff").model_sha256


def world_of(line: str, seed: int = 3) -> World:
    return World.of(line, DEVICES, seed)


@given(
    size=st.integers(1, 5),
    more=st.integers(0, 7),
    seed=st.integers(0, 50),
    line=st.sampled_from(
        ["", "speeds:mixed,jitter=1", "drop:train=0.4", "random:0.3", "drop:model=1", "leave:0.5,from=2,to=6"]
    ),
)
def test_what_holds_of_any_course(size: int, more: int, seed: int, line: str) -> None:
    """Never more at work than there are places, no device twice; a version is kept until its last update has come."""
    world, able = World.of(line, DEVICES, seed), np.arange(DEVICES) != 5
    concurrency, buffer, at_s = min(size + more, DEVICES), Buffer(), 0.0
    began: dict[int, int] = {}
    for number in range(1, 12):
        work = Work(np.full(DEVICES, 100.0), 1e4, 1e4) if line else None
        before = buffer
        course, buffer, parts = collect(
            before, world, number, at_s, durations(world, number, work), size=size, concurrency=concurrency, able=able
        )
        known = {each.device: each.version for each in (*before.at_work, *before.arrived)}
        began = known | dict.fromkeys(course.asked, before.version)
        assert not set(course.asked) & known.keys()
        assert 5 not in began
        if course.failed:
            assert not parts
            assert not buffer.at_work
            assert buffer.version == before.version
        else:
            assert buffer.version == before.version + 1
            assert not buffer.arrived
            assert sum(map(len, parts.values())) == size == len(course.reported)
            for staleness, devices in parts.items():
                assert {before.version - began[device] for device in devices} == {staleness}
        here = [each.device for each in (*buffer.at_work, *buffer.arrived)]
        assert len(set(here)) == len(here) <= concurrency
        assert len(known) + len(course.asked) == len(course.reported) + sum(course.dropped.values()) + len(here)
        assert course.ended_s >= at_s
        assert Buffer.of_json(buffer.as_json()) == buffer
        at_s = course.ended_s


def test_who_began_earlier_reports_earlier_and_the_others_stay_at_work() -> None:
    at_work = (AtWork(0, 1, 50.0), AtWork(1, 0, 20.0), AtWork(2, 1, 90.0))
    seconds = np.full(DEVICES, 1000.0)
    course, after, parts = collect(
        Buffer(2, at_work), world_of(""), 5, 10.0, seconds, size=2, concurrency=3, able=np.ones(DEVICES, np.bool_)
    )
    assert (course.reported, course.ended_s, course.asked) == ((0, 1), 50.0, ())
    assert parts == {1: (0,), 2: (1,)}
    assert after == Buffer(3, at_work[2:])
    assert after.begun_from == {1}
    assert staleness_figures(parts) == {"mean": 1.5, "max": 2}


def test_without_a_world_durations_are_half_normal() -> None:
    world = World.of("", 20_000, 1)
    drawn = durations(world, 1, None)
    assert drawn.min() >= 0
    assert drawn.mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.02)
    assert (drawn**2).mean() == pytest.approx(1.0, abs=0.05)
    assert not np.array_equal(drawn, durations(world, 2, None))
