"""``fanlight demo`` with real processes, real pictures and the real protocol, by its public contract."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanlight.cli.find_model import find_model_file
from fanlight.services.http.sessions import API_TOKEN_FILE
from tests.e2e.terminals import free_base

LIMIT_S = 300


class Demo:
    """A running ``fanlight demo``."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.base = free_base()
        self.state = folder / "state"
        self.errors = folder / "stderr"
        words = ["demo", "--state", self.state, "--port-base", self.base, *arguments]
        with self.errors.open("wb") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "fanlight", *map(str, words)],
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                text=True,
            )

    def wait(self) -> tuple[int, str]:
        """The exit code and standard output."""
        out, _ = self.popen.communicate(timeout=LIMIT_S)
        return self.popen.returncode, out

    def until_said(self, text: str) -> str:
        """What it said on standard error, once that holds ``text``."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            has_ended = self.popen.poll() is not None
            if text in (said := self.errors.read_text()):  # only now: what it said last comes before its end
                return said
            if has_ended or time.monotonic() > deadline:
                raise AssertionError(f"it never said {text!r}: {said}")
            time.sleep(0.1)

    def ports_answer(self) -> list[int]:
        """Which of its ports somebody listens on."""
        return [port for port in range(self.base, self.base + 6) if _answers(port)]

    def kill(self, role: str) -> None:
        """Kill the process of a role, by the name of its state folder, once it is there."""
        deadline = time.monotonic() + LIMIT_S
        while not (victims := self._processes_of(role)):
            assert time.monotonic() < deadline, f"there is no {role}"
            time.sleep(0.1)
        (victim,) = victims
        os.kill(victim, signal.SIGKILL)

    def _processes_of(self, role: str) -> list[int]:
        listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
        own = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
        return [int(pid) for pid, ppid, args in own if int(ppid) == self.popen.pid and f"/{role} --port" in args]

    def ask_main(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the main server answers its owner."""
        token = (self.state / "run-1" / "federation" / "main" / API_TOKEN_FILE).read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(
            method, f"http://localhost:{self.base}{path}", headers=headers, json=body, trust_env=False, timeout=LIMIT_S
        )
        return answer.raise_for_status().json()

    def close(self) -> None:
        """End it, whatever happened."""
        if self.popen.poll() is None:
            self.popen.terminate()
            self.popen.communicate(timeout=LIMIT_S)


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("localhost", port)) == 0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    demos: list[Demo] = []

    def start(*arguments: object) -> Demo:
        demos.append(Demo(tmp_path, *arguments))
        return demos[-1]

    yield start
    for demo in demos:
        demo.close()


@pytest.mark.timeout(2 * LIMIT_S)
def test_rounds_make_the_model_better_and_predict_uses_it(started: Any, tmp_path: Path) -> None:
    demo = started("--dataset", "shapes", "--devices", 3, "--rounds", 2, "--exit", "--json")
    code, out = demo.wait()
    assert code == 0, demo.errors.read_text()
    assert out.count("\n") == 1
    result = json.loads(out)
    assert list(result) == ["dataset", "classes", "devices", "protocol", "rounds", "model", "peak_rss_mb"]
    devices = ["device-1", "device-2", "device-3"]
    assert (result["dataset"], result["devices"], result["protocol"]) == ("shapes", devices, "split-trust/1")
    assert result["classes"] == ["circle", "square", "triangle", "star"]
    first, second = result["rounds"]
    assert [entry["participants"] for entry in (first, second)] == [3, 3]
    assert first["accuracy_before"] == pytest.approx(0.25)
    assert first["accuracy_after"] == second["accuracy_before"]
    assert first["balanced_accuracy_after"] == second["balanced_accuracy_before"]
    assert second["accuracy_after"] > 0.9
    assert set(first["local_accuracy"]) == set(devices)
    assert all(0 <= accuracy <= 1 for accuracy in second["local_accuracy"].values())
    assert set(result["peak_rss_mb"]) == {"main", "aggregator", *devices}
    assert all(10 < peak < 2000 for peak in result["peak_rss_mb"].values())
    assert result["model"]["version"] == 2
    assert demo.ports_answer() == []
    _check_predict(demo.state, tmp_path, result)


def _check_predict(state: Path, folder: Path, result: dict[str, Any]) -> None:
    pictures = sorted((state / "pictures").glob("*/device-1/test/*/*"))[:8]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    words = [sys.executable, "-m", "fanlight", "predict", *map(str, pictures), "--state", str(state), "--json"]
    ran = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    answers = json.loads(ran.stdout)
    assert sum(answer["class"] == Path(answer["image"]).parent.name for answer in answers) >= 6
    models = [find_model_file(None, device) for device in state.glob("run-1/device-*")]
    assert result["model"]["sha256"] in {hashlib.sha256(model).hexdigest() for model in models}


@pytest.mark.timeout(2 * LIMIT_S)
def test_by_hand_it_waits_says_what_to_do_and_ctrl_c_ends_everything(started: Any) -> None:
    demo = started("--dataset", "shapes")
    said = demo.until_said("Ctrl-C ends everything")
    assert said.count("/login?token=") == 4
    assert "/modeltrain" in said
    assert demo.ports_answer() == [demo.base + offset for offset in range(4)]
    demo.popen.send_signal(signal.SIGINT)
    assert demo.wait() == (0, "")
    assert demo.ports_answer() == []


@pytest.mark.timeout(2 * LIMIT_S)
def test_when_a_server_dies_all_end_and_it_is_named(started: Any) -> None:
    demo = started("--dataset", "shapes")
    demo.until_said("Ctrl-C ends everything")
    demo.kill("aggregator")
    assert demo.wait() == (1, "")
    assert "aggregator has ended (signal SIGKILL)" in demo.errors.read_text()
    assert demo.ports_answer() == []


@pytest.mark.timeout(2 * LIMIT_S)
def test_a_device_that_dies_is_started_again_and_takes_part_again(started: Any) -> None:
    demo = started("--dataset", "shapes", "--devices", 4, "--rounds", 6, "--exit", "--json")
    demo.until_said("round 1: published")
    demo.kill("device-4")
    demo.ask_main("PUT", "/api/v1/policy", {"paused": True})  # or the rounds are over before it is back
    demo.until_said("device-4 is started again")
    deadline = time.monotonic() + LIMIT_S
    while not all(device["present"] for device in demo.ask_main("GET", "/api/v1/devices")["devices"]):
        assert time.monotonic() < deadline, demo.errors.read_text()
        time.sleep(0.1)
    demo.ask_main("PUT", "/api/v1/policy", {"paused": False})
    code, out = demo.wait()
    assert code == 0, demo.errors.read_text()
    assert out.count("\n") == 1
    rounds = json.loads(out)["rounds"]
    numbers = [entry["round"] for entry in rounds]
    assert len(numbers) == 6, "one that gave way to the pause, if one was just being opened, does not count"
    assert numbers == sorted(set(numbers))
    assert {entry["participants"] for entry in rounds} <= {3, 4}
    assert rounds[5]["participants"] == 4
    assert rounds[5]["local_accuracy"]["device-4"] is not None


@pytest.mark.timeout(2 * LIMIT_S)
def test_a_device_that_dies_again_is_left_out_and_the_rounds_go_on(started: Any) -> None:
    demo = started("--dataset", "shapes", "--devices", 3, "--rounds", 6, "--exit", "--json")
    demo.until_said("round 1: published")
    demo.kill("device-3")
    demo.ask_main("PUT", "/api/v1/policy", {"paused": True})  # or the rounds are over before it has died again
    demo.until_said("device-3 is started again")
    demo.kill("device-3")
    demo.until_said("device-3 is left out")
    demo.ask_main("PUT", "/api/v1/policy", {"paused": False})
    code, out = demo.wait()
    assert code == 0, demo.errors.read_text()
    assert "device-3 is left out; the demo goes on with 2 devices" in demo.errors.read_text()
    result = json.loads(out)
    assert len(result["rounds"]) == 6
    assert result["rounds"][-1]["participants"] == 2  # the first ones may have ended before it died
    for entry in result["rounds"]:
        assert entry["accuracy_after"] is not None
        assert entry["local_accuracy"]["device-3"] is None
        assert entry["local_accuracy"]["device-1"] is not None
    assert set(result["peak_rss_mb"]) == {"main", "aggregator", "device-1", "device-2", "device-3"}
    assert demo.ports_answer() == []


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("server", ["aggregator", pytest.param("main", marks=pytest.mark.long)])
def test_when_a_server_dies_the_line_holds_the_rounds_so_far(started: Any, server: str) -> None:
    demo = started("--dataset", "shapes", "--rounds", 50, "--exit", "--json")
    demo.until_said("round 1: published")
    demo.kill(server)
    code, out = demo.wait()
    assert code == 1
    assert f"{server} has ended (signal SIGKILL)" in demo.errors.read_text()
    assert out.count("\n") == 1
    result = json.loads(out)
    assert list(result) == ["dataset", "classes", "devices", "protocol", "rounds", "model", "peak_rss_mb"]
    assert 1 <= len(result["rounds"]) < 50
    assert set(result["rounds"][0]["local_accuracy"]) == {"device-1", "device-2"}
    assert result["model"]["version"] >= 1
    assert demo.ports_answer() == []


@pytest.mark.timeout(2 * LIMIT_S)
def test_even_if_the_demo_itself_is_killed_nothing_is_left_behind(started: Any) -> None:
    demo = started("--dataset", "shapes")
    demo.until_said("Ctrl-C ends everything")
    demo.popen.kill()
    demo.wait()
    deadline = time.monotonic() + LIMIT_S
    while demo.ports_answer() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert demo.ports_answer() == []
