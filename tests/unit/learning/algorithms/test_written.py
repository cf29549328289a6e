"""Algorithms as people write them."""

from __future__ import annotations

import pytest

from fanlight.errors import SettingsError
from fanlight.learning.algorithms.written import read_algorithm


def test_an_algorithm_is_a_name_numbers_and_a_word() -> None:
    assert read_algorithm("algorithm", "fedadam:learning_rate=0.1, tau = 0.01,combine=krum") == (
        "fedadam",
        {"learning_rate": 0.1, "tau": 0.01},
        "krum",
    )
    assert read_algorithm("algorithm", " fedavg ") == ("fedavg", {}, None)


@pytest.mark.parametrize("line", ["fedprox:0.5", "fedprox:mu", "fedprox:mu=", "fedprox:mu=much", "fedprox:combine"])
def test_what_is_of_another_form_is_shown_with_how_it_should_be(line: str) -> None:
    with pytest.raises(SettingsError, match=r"--algorithm: '.+' is not of the form PARAMETER=NUMBER") as caught:
        read_algorithm("--algorithm", line)
    assert "fedadam:learning_rate=0.03" in caught.value.next


def test_what_is_said_twice_is_told() -> None:
    with pytest.raises(SettingsError, match="'fedprox' has 'mu' twice"):
        read_algorithm("algorithm", "fedprox:mu=1,mu=2")
