"""The Python that `make` takes for its environments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "choose_python.sh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Stand-ins: what they answer when they are asked, and that they are not."""
    for name, answer in {"fast": "echo True", "slow": "echo False", "slower": "echo False", "old": "exit 1"}.items():
        python = tmp_path / name
        python.write_text(f'#!/bin/sh\ntest "$1" != -V || {{ echo Python of {name}; exit; }}\n{answer}\n')
        python.chmod(0o755)
    return tmp_path


def choose(*names: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, *names], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("fast", "slow"), "fast"),
        (("slow", "fast"), "fast"),
        (("slow", "slower"), "slow"),
        (("old", "slow"), "slow"),
        (("missing", "old", "slow", "fast"), "fast"),
    ],
)
def test_the_first_that_will_do_unless_only_another_is_optimised(
    folder: Path, names: tuple[str, ...], chosen: str
) -> None:
    found = choose(*(folder / name for name in names))
    assert (found.returncode, found.stdout) == (0, f"{folder / chosen}\n")
    passed_over = "slow" in names and chosen == "fast" and names[0] != "fast"
    assert ("make PYTHON=" in found.stderr) == passed_over, "whoever asked for another one hears of it"


def test_where_none_will_do_each_is_named_with_its_version(folder: Path) -> None:
    found = choose(folder / "old", folder / "missing")
    assert (found.returncode, found.stdout) == (1, "")
    assert "Python 3.11" in found.stderr
    assert "python3-venv" in found.stderr
    assert f"{folder / 'old'} is Python of old." in found.stderr


def test_the_python_that_runs_this_will_do() -> None:
    base = os.path.realpath(sys.executable)
    assert choose(base).stdout == f"{base}\n"


def test_one_that_is_too_old_will_not(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.version_info = (3, 10, 9, 'final', 0)\n")
    old = tmp_path / "python"
    old.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {os.path.realpath(sys.executable)} "$@"\n')
    old.chmod(0o755)
    assert choose(old).returncode == 1
