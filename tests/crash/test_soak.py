"""The soak itself: a short one finds nothing, and what is wrong makes it fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import soak
from tests.crash.soak import LASTING, MOST_DISK_MB, SLACK_MB, Soak

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def no_cables(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be laid in the machine's network, whose browsers other tests use."""
    monkeypatch.setattr(soak, "laying_cables", lambda: None)


def test_a_short_soak_disturbs_and_finds_nothing() -> None:
    command = [sys.executable, "-m", "tests.crash.soak", "--minutes", "1", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["violation"] is None
    assert found["checks"] >= 1
    assert sum(found["disturbances"].values()) >= 2
    assert found["rounds"]["complete"] >= 3
    assert found["memory_mb"].keys() == set(LASTING)
    assert all(last > 10 for _, last in found["memory_mb"].values())


@pytest.mark.usefixtures("no_cables")
def test_memory_that_grows_and_a_full_folder_are_violations(tmp_path: Path) -> None:
    run = Soak(tmp_path, 1)
    run.memory["main"] = [100.0] * 8
    run.disk = {"main": 1.0}
    run._check_sizes()
    run.disk = {"main": MOST_DISK_MB + 1}
    with pytest.raises(AssertionError, match="main keeps"):
        run._check_sizes()
    run.memory["main"] = [100.0] * 6 + [100.0 + SLACK_MB + 1] * 2
    with pytest.raises(AssertionError, match="main grew"):
        run._check_sizes()
    run.close()


@pytest.mark.usefixtures("no_cables")
def test_a_wrong_sum_is_a_violation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Soak(tmp_path, 1)
    check = run._invariants.check

    def with_a_wrong_vector() -> None:
        mine, other = (run.federation.roles[name].folder for name in run.federation.devices[:2])
        foreign = next(other.glob("*.npy")).read_bytes()
        for vector in mine.glob("*.npy"):
            vector.write_bytes(foreign)
        check()

    monkeypatch.setattr(run._invariants, "check", with_a_wrong_vector)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        run.run(0)
