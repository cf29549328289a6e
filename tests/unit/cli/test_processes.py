"""Processes that are ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanlight.cli.processes import Processes
from fanlight.services.lifeline import END_WITH_STDIN


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Processes:
    """Supervises scripts: a package called ``fanlight`` that runs its first argument stands before ours."""
    package = tmp_path / "path" / "fanlight"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys\nexec(sys.argv[1])\n")
    return Processes({**os.environ, "PYTHONPATH": str(package.parent), "PYTHONUNBUFFERED": "1"})


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def test_one_that_ends_is_named_with_the_end_of_its_log(processes: Processes, tmp_path: Path) -> None:
    with processes:
        processes.start("stays", ["input()"], tmp_path / "stays.log")
        processes.start("goes", ["print('early'); print('no disk'); sys.exit(3)"], tmp_path / "goes.log")
        processes.running["goes"].popen.wait()
        ended = processes.ended()
    assert list(ended) == ["goes"]
    assert "goes has ended (exit code 3)" in ended["goes"].message
    assert "no disk" in ended["goes"].message
    assert {process.popen.returncode for process in processes.running.values()} == {3, -signal.SIGTERM}


def test_one_that_was_killed_is_named_with_the_signal(processes: Processes, tmp_path: Path) -> None:
    with processes:
        processes.start("victim", ["input()"], tmp_path / "log")
        processes.running["victim"].popen.kill()
        processes.running["victim"].popen.wait()
        assert "victim has ended (signal SIGKILL)" in processes.ended()["victim"].message


def test_one_that_has_ended_is_started_again_with_the_same_words_and_log(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with processes:
        processes.start("comes back", ["print('here'); input()"], log)
        until(lambda: log.read_text() == "here\n")
        processes.running["comes back"].popen.kill()
        processes.running["comes back"].popen.wait()
        processes.start_again("comes back")
        until(lambda: log.read_text() == "here\nhere\n")
        assert processes.ended() == {}
    assert processes.running["comes back"].popen.returncode == -signal.SIGTERM


def test_one_that_is_left_out_is_not_missed_but_its_memory_is_still_listed(
    processes: Processes, tmp_path: Path
) -> None:
    with processes:
        processes.start("stays", ["input()"], tmp_path / "stays.log")
        processes.start("goes", [""], tmp_path / "goes.log")
        processes.running["goes"].popen.wait()
        processes.leave_out("goes")
        assert processes.ended() == {}
    assert list(processes.running) == ["stays"]
    assert set(processes.peak_rss_mb()) == {"stays", "goes"}


def test_one_that_will_not_end_is_ended_by_force_with_its_children(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanlight.cli.processes._PATIENCE_S", 0.2)
    script = (
        "import os, signal, subprocess, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'])\nprint(child.pid)\nchild.wait()"
    )
    log = tmp_path / "log"
    with processes:
        processes.start("stubborn", [script], log)
        until(lambda: log.exists() and log.read_text().endswith("\n"))
        child = int(log.read_text())
    assert processes.running["stubborn"].popen.returncode == -signal.SIGKILL
    until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended but that nobody has collected does not."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


def test_each_ones_peak_of_memory_is_known_at_the_end(processes: Processes, tmp_path: Path) -> None:
    with processes:
        processes.start("small", ["input()"], tmp_path / "small.log")
        processes.start("large", ["x = bytes(10) * 8_000_000; print('made'); input()"], tmp_path / "large.log")
        until(lambda: "made" in (tmp_path / "large.log").read_text())
    peaks = processes.peak_rss_mb()
    small, large = peaks["small"], peaks["large"]
    assert small is not None
    assert large is not None
    assert small + 60 < large < small + 200


def test_logs_are_for_their_owner_only_and_are_continued(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("first", "second"):
        processes.start(word, [f"print('{word}')"], log)
        processes.running[word].popen.wait()
    processes.stop()
    assert log.read_text() == "first\nsecond\n"
    assert log.stat().st_mode & 0o077 == 0


def test_stopping_twice_does_no_harm(processes: Processes, tmp_path: Path) -> None:
    processes.start("a", ["input()"], tmp_path / "log")
    processes.stop()
    processes.stop()


def test_a_role_ends_when_the_one_who_started_it_is_gone(tmp_path: Path) -> None:
    script = "import time\nfrom fanlight.services import lifeline\nlifeline.end_with_stdin_if_asked()\ntime.sleep(600)"
    variables = {**os.environ, END_WITH_STDIN: "1"}
    role = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, env=variables)
    assert role.stdin is not None
    assert role.poll() is None
    role.stdin.close()
    assert role.wait(120) == -signal.SIGTERM
