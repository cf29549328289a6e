"""The machinery of requirements is tested on runs of pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.requirements import REQUIREMENTS, summarise

ROOT = Path(__file__).parents[2]
MODULE = """
import pytest
from tests import requirements
requirements.REQUIREMENTS["moon"] = requirements.Requirement(lambda: None, "wait for night", package="moon-data")

def test_needs_the_moon():
    requirements.require("moon")

def test_needs_it_too():
    requirements.require("moon")

def test_skips_by_itself():
    pytest.skip("not today")

def test_passes():
    assert requirements.require("make").exists()

@pytest.mark.xfail
def test_is_expected_to_fail():
    raise RuntimeError
"""
MODULE_SKIPPED = "import pytest\npytest.skip('the whole module', allow_module_level=True)\n"


def run(folder: Path, source: str, *, require_all: bool, workers: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs pytest with this project's conftest on ``source``."""
    module = folder / "test_inner.py"
    module.write_text(source, encoding="utf-8")
    # The project's plugin by name: a conftest counts only for tests beside it.
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"]
    options = ["-n", str(workers), "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(module)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "FANLIGHT"))}
    environment |= {"FANLIGHT_REQUIRE_ALL": "1" if require_all else "0", "PYTHONPATH": str(ROOT)}
    return subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_skips_are_counted_for_each_missing_requirement(tmp_path: Path) -> None:
    done = run(tmp_path, MODULE, require_all=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 skipped" in done.stdout
    assert "missing Debian package moon-data: 2 tests skipped (wait for night)" in done.stdout
    assert "skipped for other reasons: 1" in done.stdout


def test_no_skip_survives_when_everything_is_required(tmp_path: Path) -> None:
    done = run(tmp_path, MODULE, require_all=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 failed, 1 passed, 1 xfailed" in done.stdout
    assert "requires moon: wait for night" in done.stdout


def test_a_skip_in_a_worker_is_refused_as_well(tmp_path: Path) -> None:
    done = run(tmp_path, MODULE, require_all=True, workers=1)
    assert "3 failed, 1 passed, 1 xfailed" in done.stdout


def test_a_module_that_skips_itself_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, MODULE_SKIPPED, require_all=False).returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert run(tmp_path, MODULE_SKIPPED, require_all=True).returncode == pytest.ExitCode.INTERRUPTED


def test_every_listed_debian_package_fulfils_a_requirement() -> None:
    lines = (ROOT / "tests" / "debian-packages.txt").read_text(encoding="utf-8").splitlines()
    listed = {tuple(line.split()[:2]) for line in lines if not line.startswith("#")}
    assert listed == {(found.package, name) for name, found in REQUIREMENTS.items() if found.package}


def test_summary_names_the_package_and_the_number() -> None:
    lines = summarise(["Skipped: requires stamps: apt-get install tuxpaint-stamps-default"] * 2)
    assert lines == [
        "missing Debian package tuxpaint-stamps-default: 2 tests skipped (apt-get install tuxpaint-stamps-default)"
    ]
