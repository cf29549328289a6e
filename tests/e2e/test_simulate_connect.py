"""``fanlight simulate --connect``: a crowd in one process, beside a real device, at real servers in their processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fanlight.learning import model_file
from fanlight.learning.datasets import shapes
from fanlight.services.federation import TASK_FILE
from tests.crash.federation import SERVERS, Federation
from tests.crash.role import LIMIT_S, until
from tests.e2e.test_simulate import heed_interrupts
from tests.services_world import draw
from tests.unit.cli.conftest import fanlight as fanlight  # noqa: PLC0414 - a fixture

CROWD = 30


@contextmanager
def started(folder: Path, federation: Federation, tokens: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """The command, with pictures of shapes."""
    words: list[str | Path] = ["--connect", federation.roles["main"].url, "--tokens", tokens, "--accept-demo", "--json"]
    words += ["--dataset", folder / "crowd", "--state", folder / "state", "--out", folder / "out", *more]
    with subprocess.Popen(
        [sys.executable, "-m", "fanlight", "simulate", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 the tests have no threads of their own
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def audited(fanlight: Any, federation: Federation) -> list[dict[str, Any]]:
    """Of each round, what both logs say of it; they contradict each other in nothing."""
    folders = [word for name in SERVERS for word in (f"--{name}", federation.home / name)]
    found = fanlight("audit", *folders, "--json")
    assert found.code == 0, found.out
    return [json.loads(line) for line in found.out.splitlines() if "round" in json.loads(line)]


@pytest.mark.timeout(900)
def test_a_crowd_and_a_real_device_learn_together(tmp_path: Path, fanlight: Any) -> None:
    draw(tmp_path / "pictures", 0, {"train": 6, "valid": 2, "test": 2}, shapes.CLASSES)
    draw(tmp_path / "crowd", 1, {"train": 120}, shapes.CLASSES)
    federation = Federation(tmp_path, (tmp_path / "pictures",), by_itself=True, paused=True)
    task = federation.task.model_copy(update={"picture_size": 48})
    (federation.home / "main" / TASK_FILE).write_bytes(task.to_json())
    issued = fanlight("federation", "token", federation.home, "--count", CROWD, "--name", "crowd")
    assert issued.code == 0, issued.err
    tokens = Path(issued.out.strip())
    assert len(list(tokens.iterdir())) == CROWD
    try:
        for role in federation.roles.values():
            role.start()
        with started(tmp_path, federation, tokens, "--rounds", "4") as process:

            def all_are_members() -> bool:
                assert process.poll() is None, process.communicate()
                return bool((federation.ask("aggregator", "/api/v1/status") or {}).get("members") == CROWD + 1)

            until(all_are_members, "all are members at both servers", federation.summary)
            federation.press("main", "/api/v1/go-on")
            printed, said = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, said
        (line,) = printed.splitlines()
        result = json.loads(line)
        assert [each["round"] for each in result["rounds"]] == [1, 2, 3, 4]
        last = result["rounds"][-1]["balanced_accuracy"]
        assert last > 0.6, "a version that knows nothing names one of four"
        assert result["rounds"][-1]["loss"] < result["rounds"][0]["loss"]
        assert said.count("version") >= 4
        by_manifest = {each["mh"]: each for each in audited(fanlight, federation)}
        for each in result["rounds"]:
            of_both = by_manifest[each["live"]["manifest"]]
            assert (of_both["result"], of_both["signed_by_both"]) == ("released", True)
            assert len(of_both["accepted"]) == each["participants"] == CROWD + 1
            assert each["live"]["included"] == each["live"]["sent"] == CROWD
        file = federation._request("main", "GET", f"/api/v1/models/{result['live']['version']}/file")
        assert file is not None
        model = model_file.decode(file.content)
        numbers = model.layout.flatten(model.tensors).astype("<f4").tobytes()
        assert hashlib.sha256(numbers).hexdigest() == result["model_sha256"]
        interrupt_and_go_on(tmp_path, federation, tokens)
    finally:
        federation.close()


def interrupt_and_go_on(folder: Path, federation: Federation, tokens: Path) -> None:
    """Ctrl-C ends it with what it has; the same command goes on as the same devices."""
    lines = folder / "out" / "rounds.jsonl"
    with started(folder, federation, tokens, "--rounds", "1000") as process:
        until(lambda: lines.read_text().count("\n") >= 6 or process.poll() is not None, "two more rounds are over")
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    assert "goes on as the same devices" in said
    assert "Traceback" not in said
    assert len(json.loads(printed)["rounds"]) >= 6
    assert (federation.ask("aggregator", "/api/v1/status") or {})["members"] == CROWD + 1
