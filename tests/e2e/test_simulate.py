"""A simulation that is interrupted or killed, as a process: it ends quietly, and goes on to the same model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORDS = ["--dataset", "shapes", "--devices", "10", "--set", "picture_size=32", "--workers", "2", "--json"]
LIMIT_S = 300.0

pytestmark = pytest.mark.timeout(4 * LIMIT_S)


def start(state: Path, out: Path, rounds: int) -> subprocess.Popen[str]:
    words = [*WORDS, "--state", str(state), "--out", str(out), "--rounds", str(rounds)]
    command = [sys.executable, "-m", "fanlight", "simulate", *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 the tests have no threads of their own
    )


def heed_interrupts() -> None:
    """As in a terminal: what a shell runs in the background inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_rounds(folder: Path, count: int, running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    lines = folder / "rounds.jsonl"
    while not (lines.exists() and lines.read_text().count("\n") >= count):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    state, rounds = tmp_path / "state", 3000
    running = start(state, tmp_path / "out", rounds)
    try:
        wait_for_rounds(tmp_path / "out", 3, running)
        running.send_signal(how)
        printed, told = running.communicate(timeout=LIMIT_S)
    finally:
        running.kill()
    assert not printed
    assert "Traceback" not in told
    assert running.returncode == (1 if how is signal.SIGINT else -how)
    assert ("goes on from here" in told) == (how is signal.SIGINT)
    done = (tmp_path / "out" / "rounds.jsonl").read_text().count("\n")
    assert done < rounds
    results = []
    for out in ("out", "afresh"):
        printed, told = start(state, tmp_path / out, done + 2).communicate(timeout=LIMIT_S)
        results.append(json.loads(printed))
    assert results[0]["model_sha256"] == results[1]["model_sha256"]
    assert len(results[0]["rounds"]) == done + 2
