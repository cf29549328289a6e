"""What homes have of a federation: the algorithm's own models, where and how they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.learning.algorithms import memory_file
from fanlight.learning.evaluation import Counts
from fanlight.simulation import Result, simulate
from fanlight.simulation.homes import on_its_classes
from tests.unit.simulation.studies import data_of, study_of

SKEWED: dict[str, Any] = {"partition": "dirichlet:0.1", "rounds": 6, "training": {"learning_rate": 0.1, "epochs": 2}}


def counts_of(*rows: tuple[int, ...]) -> Counts:
    return Counts(np.array(rows, np.int64), 0.0)


def own(*of_class: int) -> NDArray[np.int64]:
    return np.array(of_class, np.int64)


def found(**changes: Any) -> Result:
    return simulate(study_of(**{**SKEWED, "baselines": True, **changes}), data_of())


def test_classes_count_as_often_as_a_home_has_them() -> None:
    counts = counts_of((8, 2, 0), (5, 5, 0), (0, 0, 0))
    assert on_its_classes(counts, own(10, 0, 0)) == 0.8
    assert on_its_classes(counts, own(0, 3, 0)) == 0.5
    assert on_its_classes(counts, own(1, 3, 0)) == (0.8 + 3 * 0.5) / 4
    assert on_its_classes(counts, own(1, 1, 50)) == 0.65, "of what was not tested nothing is known"
    assert on_its_classes(counts, own(0, 0, 50)) == 0.0


def test_of_the_same_global_model_ditto_leaves_homes_another_one_than_fedavg() -> None:
    plain, ditto = found(), found(algorithm="ditto:pull=0.5")
    assert plain.homes is not None
    assert ditto.homes is not None
    assert ditto.model_sha256 == plain.model_sha256
    assert ditto.homes["global"] == plain.homes["global"]
    assert ditto.homes["alone"] == plain.homes["alone"]
    assert plain.homes["own"] is None
    assert ditto.homes["own"] is not None


def test_where_homes_differ_their_own_models_are_better_at_home_than_the_global_one() -> None:
    for algorithm in ("ditto", "fedper", "fedrep"):
        homes = found(algorithm=algorithm).homes
        assert homes is not None
        assert homes["devices"] == 12
        assert homes["own"] is not None
        assert homes["global"] is not None
        assert homes["own"] > homes["global"] + 0.02, algorithm


def test_ditto_without_a_pull_leaves_a_home_what_it_learned_by_itself() -> None:
    """λ = 0: its own model is trained on from what the home remembers, whatever comes of the others."""
    one, other = (found(algorithm="ditto:pull=0", cohort=12, clip=clip) for clip in (1.0, 0.01))
    assert one.model_sha256 != other.model_sha256
    assert one.homes is not None
    assert other.homes is not None
    assert one.homes["own"] == other.homes["own"]
    assert one.homes["global"] != other.homes["global"]


def test_before_its_first_round_a_home_has_the_global_model() -> None:
    """Two of twelve in the only round: the mean is of two own models, and of the global one ten times."""
    homes = found(algorithm="ditto", rounds=1, cohort=2).homes
    assert homes is not None
    assert homes["devices"] == 12
    assert homes["own"] is not None
    assert homes["global"] is not None
    assert 0 < abs(homes["own"] - homes["global"]) < 2 / 12


def test_what_homes_have_is_the_same_after_an_interruption_and_on_any_engine(tmp_path: Path) -> None:
    study = study_of(**SKEWED, algorithm="fedper", baselines=True)
    simulate(study.model_copy(update={"rounds": 3, "baselines": False}), data_of(), folder=tmp_path)
    resumed = simulate(study, data_of(), folder=tmp_path)
    whole = simulate(study, data_of(), engine="inline")
    assert resumed.homes == whole.homes
    page = (tmp_path / "report.html").read_text()
    assert "What homes have" in page
    assert resumed.homes is not None
    assert resumed.as_json()["homes"] == resumed.homes


def test_homes_that_cheat_are_not_asked_what_they_have() -> None:
    fair, spoilt = found(), found(attack="label-flip:0.5")
    assert fair.homes is not None
    assert spoilt.homes is not None
    assert (fair.homes["devices"], spoilt.homes["devices"]) == (12, 6)
    assert found(attack="sign-flip:1").homes is None


@pytest.mark.parametrize("algorithm", ["fedavg", "ditto"])
def test_without_baselines_nothing_is_worked_out(algorithm: str) -> None:
    result = simulate(study_of(algorithm=algorithm, rounds=1), data_of())
    assert result.homes is None
    assert result.as_json()["homes"] is None


def test_what_a_device_remembers_follows_what_was_sent_of_its_update(tmp_path: Path) -> None:
    """FedDyn after one round: g = -α · the clipped update, so not longer than α times the clip."""
    simulate(study_of(algorithm="feddyn:alpha=2", rounds=1, clip=0.01), data_of(), folder=tmp_path)
    kept = [memory_file.decode(path.read_bytes()) for path in (tmp_path / "memories").rglob("*.safetensors")]
    assert [float(np.linalg.norm(each["own_gradient"])) for each in kept] == pytest.approx([0.02] * 8)
