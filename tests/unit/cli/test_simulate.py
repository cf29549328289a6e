"""``fanlight simulate``: one line of JSON, a folder, and runs that go on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fanlight.cli import main

SMALL = ["--dataset", "shapes", "--devices", "6", "--rounds", "3", "--set", "picture_size=32", "--workers", "2"]


def run(capsys: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[Any, str]:
    main_exit = 0
    try:
        main(["simulate", "--state", str(state), "--json", *words])
    except SystemExit as ended:
        main_exit = int(ended.code or 0)
    said = capsys.readouterr()
    assert main_exit == 0, said.err
    assert said.out.count("\n") == 1
    return json.loads(said.out), said.err


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that features are worked out once."""
    return tmp_path_factory.mktemp("state")


def test_json_has_what_it_promises_and_the_folder_the_same(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    result, told = run(capsys, state, *SMALL, "--baselines")
    promised = {
        "round", "participants", "accuracy", "balanced_accuracy", "loss", "seconds", "bytes_up", "bytes_down",
    }  # fmt: skip
    assert [line["round"] for line in result["rounds"]] == [1, 2, 3]
    assert all(promised <= line.keys() for line in result["rounds"])
    assert result["seed"] == 0
    assert result["engine"] == "forked"
    assert {"accuracy", "balanced_accuracy", "loss"} <= result["pooled"].keys()
    assert result["local_only"]["devices"] == 6
    match = re.search(r"Report: (.*)/report\.html", told)
    assert match
    folder = Path(match[1])
    assert json.loads((folder / "result.json").read_text()) == result
    assert (folder / "model.safetensors").stat().st_size > 4 * result["parameters"]


def test_a_report_needs_nothing_but_itself(capsys: pytest.CaptureFixture[str], state: Path, tmp_path: Path) -> None:
    run(capsys, state, *SMALL, "--out", str(tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    outside = re.findall(r'(?:src|href|url\()=?["\']?(\S+)', page)
    assert not outside
    assert "<script" not in page
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_the_same_command_finds_the_run_and_more_rounds_go_on(
    capsys: pytest.CaptureFixture[str], state: Path, tmp_path: Path
) -> None:
    first, _ = run(capsys, state, *SMALL, "--seed", "5", "--out", str(tmp_path))
    again, told = run(capsys, state, *SMALL, "--seed", "5", "--out", str(tmp_path))
    assert again["rounds"] == first["rounds"]
    assert "round 1:" not in told
    longer, told = run(capsys, state, *SMALL, "--seed", "5", "--rounds", "4", "--out", str(tmp_path))
    assert longer["rounds"][:3] == first["rounds"]
    assert "round 4:" in told


def test_a_file_is_changed_by_options(capsys: pytest.CaptureFixture[str], state: Path, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('dataset = "shapes"\npicture_size = 32\ndevices = 6\nrounds = 2\n[training]\nepochs = 1\n')
    words = ["--algorithm", "fedprox:mu=0.5", "--set", "training.batch_size=8", "--set", 'partition="iid"']
    result, _ = run(capsys, state, str(path), *words)
    assert result["study"]["algorithm"] == "fedprox:mu=0.5"
    assert result["study"]["training"]["epochs"] == 1
    assert result["study"]["training"]["batch_size"] == 8
    assert result["study"]["partition"] == "iid"


def test_studies_are_compared_over_seeds(capsys: pytest.CaptureFixture[str], state: Path, tmp_path: Path) -> None:
    for name, partition in (("alike", "iid"), ("unlike", "classes:1")):
        (tmp_path / f"{name}.toml").write_text(
            f'dataset = "shapes"\npicture_size = 32\ndevices = 6\nrounds = 2\npartition = "{partition}"\n'
        )
    files = [str(tmp_path / "alike.toml"), str(tmp_path / "unlike.toml")]
    found, told = run(capsys, state, "--compare", *files, "--seeds", "2", "--out", str(tmp_path / "both"))
    assert [each["name"] for each in found["studies"]] == ["alike", "unlike"]
    assert found["studies"][0]["seeds"] == [0, 1]
    assert found["studies"][0]["balanced_accuracy"]["least"] <= found["studies"][0]["balanced_accuracy"]["most"]
    page = (tmp_path / "both" / "report.html").read_text()
    assert "polygon" in page
    assert "unlike" in page
    assert "alike:" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare"], "--compare takes"),
        (["a.toml", "b.toml"], "Several studies"),
        (["--set", "clip"], "has no value"),
        (["--set", "clap=3"], "clap"),
        (["--devices", "3", "--cohort", "5"], "cohort"),
        (["none.toml"], "cannot be read"),
        (["--dataset", "shapes", "--engine", "abacus"], "no engine"),
        (["--compare", "a.toml", "--seeds", "0"], "--seeds"),
        (["--workers", "-1"], "--workers"),
        (["--k-min", "9"], "Add --connect"),
        (["--set", "training=1", "--set", "training.epochs=2"], "training is 1 already"),
        (["--devices", "4", "--attack", "noise:0.1"], "0.1 of 4 devices is nobody"),
    ],
)
def test_what_is_called_wrongly_is_said(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--state", str(state), *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--connect", "http://localhost:1"], "needs --tokens"),
        (["--connect", "http://localhost:1", "--tokens", "nowhere"], "no token files in nowhere"),
        (["--connect", "http://localhost:1", "--tokens", "nowhere", "--compare", "a.toml"], "one at a time"),
        (["--accept-demo"], "Add --connect URL"),
        (["--tokens", "somewhere"], "Add --connect URL"),
    ],
)
def test_what_is_wrong_with_live_servers_is_said(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--state", str(tmp_path), *words])
    assert ended.value.code
    said = capsys.readouterr()
    assert told in said.err
    assert not said.out
