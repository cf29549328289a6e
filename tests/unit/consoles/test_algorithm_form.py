"""The algorithm on the page Task: shown, changed, and what is wrong with what somebody typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fanlight.consoles.algorithm_form import change_algorithm
from fanlight.consoles.policy_form import change_policy
from fanlight.errors import SettingsError
from fanlight.services.main_server.app import MainServerParts
from tests.unit.main_server.past import add_round, server


@pytest.fixture
def parts(tmp_path: Path) -> MainServerParts:
    _app, made = server(tmp_path / "federation")
    return made


def test_another_algorithm_begins_with_its_defaults_and_then_takes_others(parts: MainServerParts) -> None:
    service = parts.service
    assert not change_algorithm(service, {"name": "fedadam", "combine": "mean", "beta": "0.5"}).wrong
    assert service.task.algorithm.values == {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "tau": 0.0001}
    service.change_policy(shards="always")
    typed = {
        "name": "fedadam",
        "combine": "median",
        "learning_rate": "0,03",
        "beta1": ".5",
        "beta2": "1",
        "tau": "1e-3",
    }
    assert not change_algorithm(service, typed).wrong
    assert service.task.algorithm.values == {"learning_rate": 0.03, "beta1": 0.5, "beta2": 1.0, "tau": 0.001}
    assert service.task.algorithm.combine == "median"
    said = change_policy(service, {"shards": "never", "most_shards": "2"}).wrong[""]
    assert "combine=median stands" in said
    assert "shards=always and most_shards=3 or more; else choose combine=mean" in said
    assert service.task.policy.shards == "always"
    entries = parts.records.log.page()["entries"]
    assert [entry["type"] for entry in entries].count("algorithm") == 2


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"name": "fedsgd"}, "name", "There is no algorithm 'fedsgd'. Choose one of fedavg,"),
        ({"name": "fedbuff"}, "name", "FedBuff cannot be chosen: a round's manifest names one version"),
        ({"name": "feddyn", "combine": "krum"}, "combine", "FedDyn does not go with krum. The server must sum up what"),
        ({"name": "fedprox", "combine": "krum"}, "", "must say shards=always and most_shards=5 or more; else choose"),
        ({"name": "fedprox", "mu": "much"}, "mu", "This is no number: 'much'."),
        ({"name": "fedprox", "mu": "-1"}, "mu", "From 0 to 100, not -1."),
        ({"name": "fedprox", "mu": "nan"}, "mu", "This is no number"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(
    parts: MainServerParts, typed: dict[str, str], field: str, said: str
) -> None:
    parts.service.change_algorithm(name="fedprox")
    before = parts.service.task
    assert said in change_algorithm(parts.service, typed).wrong[field]
    assert parts.service.task == before
    with pytest.raises(SettingsError):
        parts.service.change_algorithm(name="fedprox", parameters={}, combine="vote")


def test_all_of_a_head_cannot_stay_at_home(parts: MainServerParts) -> None:
    assert not change_algorithm(parts.service, {"name": "fedper", "combine": "mean"}).wrong
    before = parts.service.task
    said = change_algorithm(parts.service, {"name": "fedper", "personal": "2", "combine": "mean"}).wrong[""]
    assert said == "personal: 2 of the model's 2 tensors at home leave nothing to share. Write 1 or less."
    assert parts.service.task == before


def test_devices_get_another_plan_only_if_they_are_to_train_in_another_way(parts: MainServerParts) -> None:
    plan = parts.service.task.plan
    parts.service.change_algorithm(name="fedyogi")
    assert parts.service.task.plan == plan
    parts.service.change_algorithm(name="fedprox", parameters={"mu": 0.5})
    told = parts.service.task.plan.algorithm
    assert told is not None
    assert (told.name, told.parameters) == ("fedprox", (("mu", 500_000),))


def test_the_card_says_by_which_algorithm_a_version_was_made(parts: MainServerParts) -> None:
    parts.service.change_algorithm(name="fedavgm", parameters={"beta": 0.5})
    add_round(parts, 1)
    parts.service.change_algorithm(name="fedavg")
    add_round(parts, 2)
    made = [parts.records.card(number)["algorithm"] for number in range(3)]
    assert made[0] is None
    assert made[1] | {"title": ""} == {
        "name": "fedavgm",
        "title": "",
        "parameters": {"beta": 0.5, "learning_rate": 0.1},
        "combine": "mean",
    }
    assert made[2]["name"] == "fedavg"
    assert json.loads(json.dumps(made)) == made
