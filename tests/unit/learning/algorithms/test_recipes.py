from __future__ import annotations

import pytest

from fanlight.errors import SettingsError
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.registry import RECIPES, recipe

NAMES = {
    "fedavg", "fedavgm", "fedprox", "fedadam", "fedyogi", "fedadagrad", "scaffold", "fednova", "feddyn", "ditto",
    "fedbn", "fedper", "fedrep", "fedbuff",
}  # fmt: skip


def test_all_are_there() -> None:
    assert set(RECIPES) == NAMES


@pytest.mark.parametrize("name", RECIPES)
def test_each_can_be_made_with_its_defaults_and_at_its_limits(name: str) -> None:
    found = recipe(name)
    for values in (
        {},
        {parameter.name: parameter.low for parameter in found.parameters},
        {parameter.name: parameter.high for parameter in found.parameters},
    ):
        assert isinstance(found.of(values), Algorithm)
    for parameter in found.parameters:
        assert not parameter.flaw(parameter.default)


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        recipe("fedsgd")
    assert "fedadam" in caught.value.next
    assert not any(name in caught.value.next for name, known in RECIPES.items() if known.why_not)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rat": 1.0}, "FedAdam has no 'learning_rat'. FedAdam takes learning_rate, beta1, beta2, tau."),
        ({"tau": 0.0}, "tau: From 1e-06 to 10, not 0."),
        ({"beta2": "much"}, "beta2: This is no number: 'much'."),
        ({"beta2": True}, "beta2: This is no number: 'True'."),
        ({"beta2": float("nan")}, "beta2: This is no number: 'nan'."),
    ],
)
def test_what_is_wrong_is_said(values: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe("fedadam").of(values)
    assert said in caught.value.message


def test_whole_numbers() -> None:
    with pytest.raises(SettingsError, match=r"A whole number, not 1\.5"):
        recipe("fedper").of({"personal": 1.5})


def test_values_are_rounded_as_they_travel() -> None:
    """Device and server must have the same numbers, and messages hold no floats."""
    assert recipe("fedprox").filled({"mu": 0.12345678}) == {"mu": 0.123457}
