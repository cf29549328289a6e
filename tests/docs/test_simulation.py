"""Commands, files and programs in docs/simulation.md do what it says, at a small size."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fanlight.cli import main
from tests.docs.current import DOCS

TEXT = (DOCS / "simulation.md").read_text()
SMALL = ["--dataset", "shapes", "--devices", "10", "--rounds", "1", "--set", "picture_size=32"]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if "--module" not in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the files of the page; features are worked out once."""
    place = tmp_path_factory.mktemp("page")
    for block in blocks("toml"):
        name = block.splitlines()[0].removeprefix("# ")
        (place / name).write_text(block)
    return place


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    program, *words = shlex.split(command)
    assert program == "fanlight"
    with pytest.raises(SystemExit) as ended:
        main([*words, *SMALL])
    assert not ended.value.code


def test_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("python")
    exec(compile(program, "simulation.md", "exec"), {})  # noqa: S102 the page's own words
    accuracy, digest = capsys.readouterr().out.split()
    assert float(accuracy) > 0.6
    assert len(digest) == 64
