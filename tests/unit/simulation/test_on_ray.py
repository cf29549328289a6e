"""Ray makes the model of the other engines."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from fanlight.errors import SettingsError
from fanlight.simulation import simulate
from tests.unit.simulation.studies import data_of, study_of


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Ray leaves files open; what it leaves is collected before anybody else is blamed for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("changes", [{}, {"algorithm": "scaffold"}, {"fidelity": "protocol"}, {"head": "prototypes"}])
def test_ray_makes_the_same_model(changes: dict[str, Any]) -> None:
    inline = simulate(study_of(**changes), data_of(), engine="inline")
    assert simulate(study_of(**changes), data_of(), engine="ray", workers=2).model_sha256 == inline.model_sha256


@pytest.mark.filterwarnings("ignore")
def test_what_a_device_fails_with_comes_back() -> None:
    wild = {"learning_rate": 10.0, "l2": 10.0, "epochs": 200, "patience": 200}
    with pytest.raises(Exception, match="ran away"):
        simulate(study_of(training=wild), data_of(), engine="ray", workers=2)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # it cannot be imported now
    with pytest.raises(SettingsError, match="not installed"):
        simulate(study_of(), data_of(), engine="ray")
