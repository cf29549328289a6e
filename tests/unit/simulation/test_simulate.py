"""What is drawn follows from the seed alone: not from engine, workers, fidelity or interruptions."""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.errors import DataError, LocalError, SettingsError
from fanlight.simulation import Data, Line, Result, of_pictures, simulate
from tests.unit.simulation.studies import CLASSES, data_of, study_of

KINDS: list[dict[str, Any]] = [
    {},
    {"algorithm": "scaffold", "update_bits": 16},
    {"algorithm": "fednova"},
    {"algorithm": "fedper"},
    {"algorithm": "fedadam:learning_rate=0.1"},
    {"algorithm": "fedavg:combine=median", "shards": 3},
    {"head": "analytic", "rounds": 2},
    {"head": "prototypes", "rounds": 2},
    {"supporters": 5},
]


def figures(result: Result) -> list[dict[str, Any]]:
    """All of the rounds but what time says."""
    unlike = ("seconds", "phases", "device_seconds")
    return [{k: v for k, v in dataclasses.asdict(line).items() if k not in unlike} for line in result.rounds]


@pytest.mark.parametrize("changes", KINDS, ids=lambda changes: "-".join(map(str, changes.values())) or "plain")
def test_protocol_and_fast_make_the_same_model_on_any_engine(changes: dict[str, Any]) -> None:
    fast = simulate(study_of(**changes), data_of(), engine="inline")
    forked = simulate(study_of(**changes), data_of(), engine="forked", workers=3)
    protocol = simulate(study_of(**changes, fidelity="protocol"), data_of(), engine="forked", workers=2)
    assert fast.model_sha256 == forked.model_sha256 == protocol.model_sha256
    assert figures(fast) == figures(forked) == figures(protocol)
    assert fast.rounds[0].participants == 8


def test_another_seed_is_another_model() -> None:
    assert simulate(study_of(seed=1), data_of()).model_sha256 != simulate(study_of(seed=2), data_of()).model_sha256


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold", "fedper"])
def test_a_run_that_is_interrupted_goes_on_with_the_same_bits(algorithm: str, tmp_path: Path) -> None:
    study, whole = study_of(algorithm=algorithm, rounds=6), simulate(study_of(algorithm=algorithm, rounds=6), data_of())

    def stop(line: Line) -> None:
        if line.round == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(study, data_of(), folder=tmp_path, on_round=stop, workers=2)
    lines = (tmp_path / "rounds.jsonl").read_text()
    (tmp_path / "rounds.jsonl").write_text(lines + lines.splitlines()[0] + "\n")  # of a round whose end was lost
    seen: list[int] = []
    resumed = simulate(study, data_of(), folder=tmp_path, on_round=lambda line: seen.append(line.round), workers=1)
    assert seen == [4, 5, 6]
    assert resumed.model_sha256 == whole.model_sha256
    assert figures(resumed) == figures(whole)


def test_a_run_that_is_over_is_read_and_more_rounds_go_on_from_it(tmp_path: Path) -> None:
    simulate(study_of(rounds=2), data_of(), folder=tmp_path)
    seen: list[int] = []
    longer = simulate(study_of(rounds=3), data_of(), folder=tmp_path, on_round=lambda line: seen.append(line.round))
    assert seen == [3]
    assert longer.model_sha256 == simulate(study_of(rounds=3), data_of()).model_sha256


def test_the_run_of_another_study_is_not_gone_on_with(tmp_path: Path) -> None:
    simulate(study_of(seed=1), data_of(), folder=tmp_path)
    with pytest.raises(SettingsError, match="another study"):
        simulate(study_of(seed=2), data_of(), folder=tmp_path)


def test_devices_remember_one_round_each_and_only_of_rounds_they_were_in(tmp_path: Path) -> None:
    simulate(study_of(algorithm="scaffold", rounds=4), data_of(), folder=tmp_path)
    kept = sorted(path.stem.split("-") for path in (tmp_path / "memories").rglob("*.safetensors"))
    devices = [device for device, _ in kept]
    assert len(set(devices)) == len(devices) == 12
    assert {int(of_round) for _, of_round in kept} <= {1, 2, 3, 4}


def test_the_model_gets_better_and_baselines_stand_beside_it() -> None:
    training = {"learning_rate": 0.1, "epochs": 2}
    result = simulate(study_of(rounds=10, seed=2, training=training, baselines=True), data_of())
    assert result.last.balanced_accuracy > 0.75
    assert result.pooled is not None
    assert result.local_only is not None
    assert result.pooled["balanced_accuracy"] > result.local_only["balanced_accuracy"]


def test_the_analytic_head_is_the_pooled_one_for_any_split() -> None:
    studies = [study_of(head="analytic", rounds=1, partition=split) for split in ("iid", "dirichlet:0.1")]
    one, other = (simulate(study.model_copy(update={"valid_percent": 0, "cohort": 0}), data_of()) for study in studies)
    np.testing.assert_allclose(one.parameters, other.parameters, atol=1e-5)


def test_a_training_that_runs_away_ends_the_run_with_its_reason() -> None:
    wild = {"learning_rate": 10.0, "l2": 10.0, "epochs": 200, "patience": 200}
    for engine in ("inline", "forked"):
        with pytest.raises(LocalError, match="ran away"):
            simulate(study_of(training=wild), data_of(), engine=engine, workers=2)


def test_a_worker_that_dies_ends_the_run_and_it_goes_on_later(tmp_path: Path) -> None:
    def kill(line: Line) -> None:
        if line.round == 2:
            multiprocessing.active_children()[0].kill()

    with pytest.raises(LocalError, match="A worker has ended"):
        simulate(study_of(), data_of(), folder=tmp_path, workers=2, on_round=kill)
    assert not multiprocessing.active_children()
    resumed = simulate(study_of(), data_of(), folder=tmp_path)
    assert resumed.model_sha256 == simulate(study_of(), data_of()).model_sha256


def test_bytes_are_those_of_vectors_and_models() -> None:
    line = simulate(study_of(rounds=1), data_of()).rounds[0]
    parameters = (12 + 1) * CLASSES
    assert line.bytes_down == 8 * 4 * parameters
    assert line.bytes_up == 8 * 4 * (1 + parameters + CLASSES + 1)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((3, 2)), np.array([0, 1])),
        (np.zeros((2, 2)), np.array([0.0, 1.0])),
        (np.full((2, 2), np.nan), np.array([0, 1])),
        (np.zeros((2, 2)), np.array([0, -1])),
        (np.zeros((2, 2)), np.array([0, 0])),
        (np.zeros((0, 2)), np.zeros(0, np.int64)),
    ],
)
def test_data_that_cannot_be_used_are_refused(x: Any, y: Any) -> None:
    with pytest.raises(DataError):
        Data.of(x, y)


def test_pictures_become_features_once(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (20 + n, 30, 3), np.uint8) for n in range(12)]
    told: list[int] = []
    for _ in range(2):
        data = of_pictures(pictures, np.arange(12) % 2, ("a", "b"), tmp_path, 32, lambda done, _: told.append(done))
        assert data.x.shape == (12, 1280)
    assert told == [8, 12]


def test_a_head_needs_features() -> None:
    with pytest.raises(DataError, match="features"):
        simulate(study_of(), Data.of(np.zeros((400, 1, 4, 4)), np.arange(400) % 4))


def test_without_pytorch_a_module_is_refused_with_what_to_install() -> None:
    """These tests run where it is not installed."""
    study = study_of(module="somewhere:network", training={"epochs": 1})
    with pytest.raises(SettingsError, match="not installed") as caught:
        simulate(study, data_of())
    assert caught.value.slug == "no-torch"
