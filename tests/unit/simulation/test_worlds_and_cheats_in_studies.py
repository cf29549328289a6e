"""Partitions, worlds and attacks as a whole study has them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fanlight.errors import DataError, SettingsError
from fanlight.simulation import Data, Line, Result, Study, comparison, simulate
from fanlight.simulation.attacks.registry import ATTACKS
from fanlight.simulation.cheats import Cheats
from fanlight.simulation.data import load
from fanlight.simulation.feature_skew import FeatureSkew
from fanlight.simulation.looks import AS_IT_IS, Look
from fanlight.simulation.population import divide
from fanlight.simulation.world_report import unit_of
from tests.unit.simulation.studies import data_of, study_of

WORLD = "random:0.8+speeds:mixed,jitter=0.3+drop:model=0.05,train=0.1,report=0.05+over:50+deadline:30"


def unhurried(result: Result) -> list[dict[str, Any]]:
    """All of the rounds but what time says."""
    unlike = ("seconds", "phases", "device_seconds")
    return [{k: v for k, v in dataclasses.asdict(line).items() if k not in unlike} for line in result.rounds]


@pytest.mark.parametrize(
    "changes",
    [
        {"world": WORLD},
        {"world": WORLD, "cohort": 10, "algorithm": "fedavg:combine=median", "shards": 3},
        {"attack": "lie:0.3"},
        {"attack": "min-max:0.3", "algorithm": "scaffold", "world": "speeds:mixed"},
        {"attack": "label-flip:0.25", "head": "analytic"},
    ],
    ids="-".join,
)
def test_engines_and_fidelities_agree_in_any_world(changes: dict[str, Any]) -> None:
    fast = simulate(study_of(**changes), data_of(), engine="inline")
    forked = simulate(study_of(**changes), data_of(), engine="forked", workers=3)
    protocol = simulate(study_of(**changes, fidelity="protocol"), data_of(), workers=2)
    assert fast.model_sha256 == forked.model_sha256 == protocol.model_sha256
    assert unhurried(fast) == unhurried(forked)
    assert [line.participants for line in fast.rounds] == [line.participants for line in protocol.rounds]


def test_a_run_goes_on_in_the_same_world(tmp_path: Path) -> None:
    study = study_of(world="diurnal:12,share=0.7,zones=2+drop:train=0.2", rounds=6)
    whole = simulate(study, data_of())

    def stop(line: Line) -> None:
        if line.round == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(study, data_of(), folder=tmp_path, on_round=stop)
    resumed = simulate(study, data_of(), folder=tmp_path)
    assert resumed.model_sha256 == whole.model_sha256
    assert unhurried(resumed) == unhurried(whole)


def test_a_world_stands_in_the_result_and_in_the_report(tmp_path: Path) -> None:
    result = simulate(study_of(world=WORLD), data_of(), folder=tmp_path)
    clocks = [line.simulated_seconds for line in result.rounds]
    assert all(clock is not None and clock > 0 for clock in clocks)
    assert clocks == sorted(clocks)  # type: ignore[type-var]
    told = json.loads((tmp_path / "result.json").read_text())["rounds"][0]
    assert set(told["world"]) == {"present", "asked", "dropped", "late", "failed", "opened_s"}
    assert told["participants"] <= 8 <= told["world"]["asked"] <= 12
    page = (tmp_path / "report.html").read_text()
    assert "simulated seconds" in page or "simulated minutes" in page
    assert "<h2>The world</h2>" in page


def test_studies_are_compared_by_simulated_time_where_all_have_a_clock(tmp_path: Path) -> None:
    hasty, patient = "speeds:mixed+over:50", "speeds:mixed"

    def written(worlds: list[str]) -> str:
        studies = {world: study_of(world=world, cohort=6) for world in worlds}
        compared = comparison.compare(
            worlds, lambda name, seed: simulate(studies[name].model_copy(update={"seed": seed}), data_of()), [0, 1]
        )
        comparison.write(compared, tmp_path)
        return (tmp_path / "report.html").read_text()

    assert "by simulated time" in written([hasty, patient])
    assert "by simulated time" not in written([hasty, ""])


def test_times_are_told_in_a_unit_that_can_be_read() -> None:
    assert [unit_of(seconds)[0] for seconds in (0.5, 100, 400, 9000, 11_000, 300_000)] == [
        "seconds",
        "seconds",
        "minutes",
        "minutes",
        "hours",
        "days",
    ]


def test_without_a_world_nothing_is_said_of_one(tmp_path: Path) -> None:
    result = simulate(study_of(), data_of(), folder=tmp_path)
    assert {line.simulated_seconds for line in result.rounds} == {None}
    assert "The world" not in (tmp_path / "report.html").read_text()


def test_a_round_of_nobody_changes_nothing_and_the_next_ones_go_on() -> None:
    study = study_of(world="drop:report=1", rounds=2)
    result = simulate(study, data_of())
    assert [line.participants for line in result.rounds] == [0, 0]
    assert not result.parameters.any()
    late = simulate(study_of(world="join:1,from=3", rounds=4), data_of())
    assert [line.participants for line in late.rounds] == [0, 0, 8, 8]
    assert late.rounds[1].bytes_up == late.rounds[1].bytes_down == 0


def test_bytes_are_those_of_who_fetched_and_who_sent() -> None:
    plain = simulate(study_of(rounds=1), data_of()).rounds[0]
    some = simulate(study_of(rounds=1, cohort=0, world="drop:model=0.3,train=0.3"), data_of()).rounds[0]
    assert some.world is not None
    assert some.bytes_up == plain.bytes_up // 8 * some.participants
    assert some.bytes_down == plain.bytes_down // 8 * (12 - some.world["dropped"]["model"])


def test_cheats_spoil_the_mean_and_not_the_median_of_shards() -> None:
    fair = {"partition": "iid", "devices": 40, "cohort": 0, "rounds": 8, "training": {"learning_rate": 0.1}, "clip": 50}
    data = data_of(2000)

    def accuracy(**changes: Any) -> float:
        return simulate(study_of(**fair, **changes), data).last.balanced_accuracy

    honest = accuracy()
    mean = accuracy(attack="ipm:0.1,epsilon=30")
    median = accuracy(attack="ipm:0.1,epsilon=30", algorithm="fedavg:combine=median", shards=16)
    assert honest > 0.8
    assert mean < 0.5
    assert median > honest - 0.06


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "backdoor"])
def test_every_attack_runs_and_a_share_of_nobody_changes_nothing(name: str) -> None:
    honest = simulate(study_of(cohort=0), data_of())
    assert simulate(study_of(cohort=0, attack=f"{name}:0"), data_of()).model_sha256 == honest.model_sha256
    assert simulate(study_of(cohort=0, attack=f"{name}:0.3"), data_of()).model_sha256 != honest.model_sha256


def pixels(examples: int = 300) -> Data:
    generator = np.random.default_rng(3)
    y = generator.integers(0, 3, examples)
    x = generator.uniform(0.2, 0.5, (examples, 1, 12, 12)).astype(np.float32)
    for number, label in enumerate(y):
        x[number, 0, 1 + 3 * label : 4 + 3 * label, 2:9] += 0.4
    return Data.of(np.rint(255 * x).astype(np.uint8).astype(np.float32) / np.float32(255), y)


def test_cameras_and_marks_change_what_they_should_and_nothing_else() -> None:
    data = pixels()
    plain = divide(study_of(partition="iid"), data)
    study = study_of(partition="iid", attack="backdoor:0.5,target=1,rate=0.5")
    poisoned = divide(study, data, cheats_of(study))
    attackers = cheats_of(study).who
    assert len(attackers) == 6
    for device in range(12):
        before, after = plain.train(device), poisoned.train(device)
        changed = (before.x != after.x).any(axis=(1, 2, 3))
        assert (after.y[changed] == 1).all()
        assert np.array_equal(after.y[~changed], before.y[~changed])
        assert not (before.x != after.x)[:, :, :10, :10].any()
        assert bool(changed.any()) == (device in attackers)
    assert np.array_equal(poisoned.test.x, plain.test.x)
    assert np.array_equal(poisoned.owned, plain.owned)
    assert poisoned.marked is not None
    assert len(poisoned.marked.y) == int((plain.test.y != 1).sum())
    assert set(poisoned.marked.y.tolist()) == {1}

    skewed = divide(study_of(partition="iid+brightness:0.5"), data)
    factors = [float(skewed.train(k).x.mean() / plain.train(k).x.mean()) for k in range(12)]
    assert min(factors) < 0.8
    assert max(factors) > 1.1
    assert not np.array_equal(skewed.test.x, plain.test.x)


def cheats_of(study: Study) -> Cheats:
    from fanlight.simulation.attacks.registry import planned

    return Cheats.of(planned(study.attack), study.devices, study.seed)


def test_features_have_no_cameras_and_no_marks() -> None:
    for changes in ({"partition": "iid+blur:2"}, {"attack": "backdoor:0.5"}):
        with pytest.raises(DataError, match="are not pictures"):
            simulate(study_of(**changes), data_of())


def test_a_target_that_is_no_class() -> None:
    with pytest.raises(SettingsError, match="target 7 of 4 classes"):
        simulate(study_of(attack="backdoor:0.5,target=7"), data_of())


def test_data_of_ones_own_have_columns_for_keys() -> None:
    data = data_of()
    data = dataclasses.replace(data, columns={"home": [f"home {index % 12}" for index in range(400)]})
    result = simulate(study_of(partition="key:home", cohort=0), data)
    assert result.last.participants == 12
    with pytest.raises(SettingsError, match="no column 'street'"):
        simulate(study_of(partition="key:street"), data)


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"partition": "dirichlet"}, "partition: 'dirichlet'"),
        ({"world": "sometimes"}, "world: there is no 'sometimes'"),
        ({"attack": "sign-flip"}, "attack: 'sign-flip'"),
    ],
)
def test_a_bad_line_is_found_before_anything_runs(changes: dict[str, Any], flaw: str) -> None:
    with pytest.raises(SettingsError, match=flaw) as caught:
        study_of(**changes)
    assert caught.value.next.startswith(("Write it like", "Choose one"))


def test_cameras_and_marks_are_seen_by_the_backbone(tmp_path: Path) -> None:
    data = load("shapes", tmp_path, as_pixels=False, picture_size=32)
    plain = data.seen([0, 1, 2], [AS_IT_IS] * 3)
    np.testing.assert_allclose(plain, data.x[:3], atol=1e-4)
    for look in (Look(FeatureSkew(rotation=40.0)), Look(mark=25.0)):
        seen = data.seen([0, 1, 2], [look] * 3)
        assert (np.linalg.norm(seen - plain, axis=1) > 1.0).all()
        assert np.array_equal(data.seen([0, 1, 2], [look] * 3), seen)
    study = {"dataset": "shapes", "partition": "iid+blur:1", "devices": 4, "rounds": 1, "picture_size": 32}
    result = simulate(Study.of({**study, "attack": "backdoor:0.5,target=2"}), state=tmp_path)
    assert result.last.backdoor_success is not None


def test_a_folder_for_each_device_is_a_key(tmp_path: Path) -> None:
    for number, count in ((1, 6), (2, 8), (10, 7)):
        for place in range(count):
            picture = tmp_path / "homes" / f"device-{number}" / ("cat", "dog")[place % 2] / f"{place}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 20 * number + place, np.uint8)).save(picture)
    data = load(str(tmp_path / "homes"), tmp_path, as_pixels=True, picture_size=8)
    assert data.classes == ("cat", "dog")
    assert Counter(data.columns["folder"]) == {"device-1": 6, "device-2": 8, "device-10": 7}
    population = divide(study_of(partition="key:folder", devices=3, cohort=3), data)
    assert population.owned.sum(axis=1).max() <= 8


def test_a_report_says_whose_examples_these_are_and_how_many_cheat(tmp_path: Path) -> None:
    data = dataclasses.replace(data_of(), name="leaves of <trees>")
    result = simulate(study_of(rounds=1, attack="noise:0.25"), data, folder=tmp_path)
    assert (result.data["name"], result.data["cheats"]) == ("leaves of <trees>", 3)
    page = (tmp_path / "report.html").read_text()
    assert "<h1>Simulation: leaves of &lt;trees&gt;</h1>" in page
    assert "1 round of up to 8." in page
    assert "3 of the devices cheat (noise:0.25)." in page
