"""A study is read from TOML or fields, and says what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import SettingsError
from fanlight.simulation import Study


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"devises": 3}, "devises"),
        ({"devices": 0}, "devices"),
        ({"devices": 3, "cohort": 4}, "cohort"),
        ({"algorithm": "fedfoo"}, "fedfoo"),
        ({"algorithm": "fedprox:mu=x"}, "PARAMETER=NUMBER"),
        ({"algorithm": "fedprox:nu=1"}, "nu"),
        ({"algorithm": "fedavg:combine=best"}, "combine"),
        ({"algorithm": "fedavg:combine=median"}, "shards"),
        ({"algorithm": "scaffold:combine=median", "shards": 5}, "scaffold does not go with combine=median"),
        ({"algorithm": "fedbn"}, "no batch normalisation"),
        ({"algorithm": "fedper:personal=2"}, "2 of the model's 2 tensors"),
        ({"algorithm": "fedrep:personal=7", "head": "analytic"}, "7 of the model's 2 tensors"),
        ({"head": "round"}, "head"),
        ({"module": "a:b", "head": "analytic"}, "module"),
        ({"fidelity": "protocol", "devices": 1}, "2 devices"),
        ({"training": {"epochs": 0}}, "epochs"),
        ({"training": {"epoch": 1}}, "training.epoch"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        Study.of(fields)


def test_a_file_is_read_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('dataset = "faces"\ndevices = 7\n[training]\nepochs = 2\nmomentum = 0.0\n')
    study = Study.read(path, devices=9, training={"epochs": 3})
    assert (study.dataset, study.devices, study.training.epochs, study.training.momentum) == ("faces", 9, 3, 0.0)


@pytest.mark.parametrize("text", ["devices = ", "[[training]]\nepochs = 1\n"])
def test_a_file_that_is_no_study_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(SettingsError):
        Study.read(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        Study.read(tmp_path / "none.toml")


def test_a_study_is_what_its_json_says() -> None:
    study = Study.of({"algorithm": "fedprox:mu=0.5", "training": {"epochs": 1}})
    assert Study.of(study.as_json()) == study
