"""A whole demo in real processes, as its operator sees it: status, readiness, metrics, bytes, logs without secrets."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanlight.cli.demo_folder import DemoFolder
from fanlight.cli.owner_client import OwnerClient
from fanlight.errors import NotAuthentic, RemoteError
from fanlight.learning.datasets import shapes
from fanlight.services.federation import init_federation, issue_token_file, read_token
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Task
from tests.e2e.terminals import LIMIT_S, Terminals, free_base, until
from tests.services_world import ProtocolDevice, World

ROUNDS = 2
SHORTEST_SECRET = 16
REJECTED = "fanlight_reports_rejected_total"


def all_ended(device: OwnerClient) -> bool:
    return all(line["state"] == "ended" for line in device.get("/api/v1/sent")["sent"])


def metrics_of(role: OwnerClient) -> str:
    token = (role.state / "metrics-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{role.url}/metrics", headers=headers, trust_env=False, timeout=LIMIT_S)
    assert answer.status_code == 200, answer.text
    return answer.text


def figures(metrics: str) -> dict[tuple[str, str], float]:
    """Value by name and first label's value."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }


@dataclass
class Demo:
    """A demo that has run its rounds, and still runs."""

    state: Path
    folder: DemoFolder
    roles: dict[str, OwnerClient]
    terminals: Terminals

    def fanlight(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fanlight", *arguments],
            env={**os.environ, "COLUMNS": "220"},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def metrics(self, role: str) -> dict[tuple[str, str], float]:
        return figures(metrics_of(self.roles[role]))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    place = tmp_path_factory.mktemp("seen")
    base = free_base()
    terminals = Terminals(place, os.environ)
    try:
        state = place / "state"
        terminals.start(
            f"exec {sys.executable} -m fanlight demo --dataset shapes --rounds {ROUNDS} --port-base {base} "
            f"--state {state}",
            base,
        )
        folder = DemoFolder(state / "demo")
        roles = {
            "main": OwnerClient.here("main", base, folder.main),
            "aggregator": OwnerClient.here("aggregator", base + 3, folder.aggregator),
            "device-1": OwnerClient.here("device-1", base + 1, folder.device(1)),
            "device-2": OwnerClient.here("device-2", base + 2, folder.device(2)),
        }
        until(lambda: roles["main"].get("/api/v1/status")["finished"], "the demo has run its rounds")
        for name in ("device-1", "device-2"):
            until(partial(all_ended, roles[name]), "the device knows how its rounds ended")
        yield Demo(state, folder, roles, terminals)
    finally:
        terminals.close()


@pytest.mark.timeout(4 * LIMIT_S)
def test_status_finds_every_role(demo: Demo) -> None:
    answer = demo.fanlight("status", "--json", "--state", str(demo.state))
    assert answer.returncode == 0, answer.stderr
    looks = {look["name"]: look for look in json.loads(answer.stdout)["roles"]}
    assert list(looks) == ["main server", "secure aggregator", "device device-1", "device device-2"]
    main = looks["main server"]
    assert (main["state"], main["phase"], main["reports"], main["needed"]) == ("all-done", "complete", 2, 2)
    assert (main["here"], main["enrolled"], main["model"]) == (2, 2, ROUNDS)
    assert 0 < main["accuracy"] <= 1
    assert main["round"] == looks["secure aggregator"]["round"] >= ROUNDS
    assert main["no_round"].startswith("All rounds are done.")
    assert {look["problem"] for name, look in looks.items() if name != "main server"} == {""}


@pytest.mark.timeout(4 * LIMIT_S)
def test_status_as_a_table_and_of_one_address(demo: Demo) -> None:
    answer = demo.fanlight("status", "--state", str(demo.state))  # no terminal: once
    assert answer.returncode == 0, answer.stderr
    for words in ("main server", "secure aggregator", "device device-1", "complete", "2/2", "last problem"):
        assert words in answer.stdout
    role = demo.roles["aggregator"]
    answer = demo.fanlight("status", "--url", role.url, "--token-file", str(role.token_file), "--once")
    assert answer.returncode == 0, answer.stderr
    assert "secure aggregator" in answer.stdout
    assert "main server" not in answer.stdout


def test_every_role_is_ready(demo: Demo) -> None:
    for role in demo.roles.values():
        answer = httpx.get(f"{role.url}/readyz", trust_env=False, timeout=LIMIT_S)
        assert (answer.status_code, answer.json()["reasons"]) == (200, {})


def test_metrics_tell_of_rounds_devices_and_bytes(demo: Demo) -> None:
    main, aggregator, device = (demo.metrics(role) for role in ("main", "aggregator", "device-1"))
    rounds = main[("fanlight_round", "")]
    assert main[("fanlight_rounds_total", "complete")] == rounds >= ROUNDS
    assert aggregator[("fanlight_rounds_total", "finished")] == rounds
    assert main[("fanlight_devices", "here")] == aggregator[("fanlight_devices", "member")] == 2
    for phase in ("open", "judged", "released"):
        assert main[("fanlight_round_phase_seconds_count", phase)] == rounds
    for phase in ("offered", "collecting", "closed", "agreed", "released"):
        assert aggregator[("fanlight_round_phase_seconds_count", phase)] == rounds
    assert aggregator[("fanlight_reports_taken_total", "")] == 2 * rounds
    came = aggregator[("fanlight_received_bytes_total", "/protocol/v1/rounds/{mh}/reports/{device}")]
    assert came == aggregator[("fanlight_reports_taken_bytes_total", "")] > 0
    assert device[("fanlight_remote_sent_bytes_total", "aggregator")] > came / 3
    assert device[("fanlight_remote_received_bytes_total", "main")] > 0


@pytest.mark.timeout(4 * LIMIT_S)
def test_metrics_tell_of_reports_that_were_refused(tmp_path: Path) -> None:
    """Devices that say what no honest one would; both servers are processes of their own."""
    home, base, names = tmp_path / "federation", free_base(), ("main", "aggregator")
    urls = [f"http://localhost:{base + number}" for number in range(len(names))]
    task = Task(classes=shapes.CLASSES, picture_size=32, policy=Policy(demo=True, k_min=2, r_max_percent=34))
    init_federation(home, main_url=urls[0], aggregator_url=urls[1], task_json=task.to_json())
    lines = list[Callable[[], None]]()
    world = cast("World", SimpleNamespace(clock=time.time, task=task, _closing=lines))  # all that its devices ask of it
    terminals = Terminals(tmp_path, os.environ)
    try:
        for number, command in enumerate(("server", "aggregator")):
            words = f"{command} --state {home / names[number]} --port {base + number}"
            terminals.start(f"exec {sys.executable} -m fanlight {words}", base + number)
        tokens = [issue_token_file(home, name, int(time.time()) + 86_400) for name in ("honest", "thief")]
        honest, thief = devices = [ProtocolDevice(world, read_token(token)) for token in tokens]
        for device in devices:
            device.enrol()
        aggregator = OwnerClient.here("aggregator", base + 1, home / "aggregator")
        until(lambda: aggregator.get("/api/v1/status")["members"] == len(devices), "both are members")
        until(lambda: honest.offer().manifest, "a round is open")
        sent, others = honest.commit(), thief.commit()

        def rejected() -> dict[str, float]:
            found = figures(metrics_of(aggregator))
            return {reason: value for (name, reason), value in found.items() if name == REJECTED}

        assert rejected() == {}
        tampered = sent.y ^ np.uint32(1)
        for _ in range(2):
            with pytest.raises(RemoteError, match="not the one that was signed"):
                honest.upload(sent, tampered.astype("<u4").tobytes())
        assert rejected() == {"swapped-vector": 1}, "the same one again is no second report"
        with pytest.raises(NotAuthentic):
            honest.upload(others)
        assert rejected() == {"swapped-vector": 1, "not-authentic": 1}
        text = metrics_of(aggregator)
        assert not [name for name in (honest.id.hex(), thief.id.hex(), "honest", "thief") if name in text]
        for device, report in zip(devices, (sent, others), strict=True):
            device.report(report)
        assert figures(metrics_of(aggregator))[("fanlight_reports_taken_total", "")] == len(devices)
        assert rejected() == {"swapped-vector": 1, "not-authentic": 1}
    finally:
        for close in lines:
            close()
        terminals.close()


def test_no_label_names_a_device(demo: Demo) -> None:
    names = ["device-1", "device-2"] + [line["device"] for line in demo.roles["main"].get("/api/v1/devices")["devices"]]
    for role, client in demo.roles.items():
        text = metrics_of(client)
        assert not [name for name in names if name in text], role


def test_all_parties_count_the_same_bytes(demo: Demo) -> None:
    sent = {name: demo.roles[name].get("/api/v1/sent")["sent"] for name in ("device-1", "device-2")}
    for number in range(1, ROUNDS + 1):
        there = demo.roles["aggregator"].get(f"/api/v1/rounds/{number}/reports")
        taken = {report["name"]: report["bytes"] for report in there["reports"]}
        mine = {name: line["bytes"] for name, lines in sent.items() for line in lines if line["round"] == number}
        assert taken == mine
        assert there["bytes"] == sum(mine.values())
        shown = demo.roles["main"].get(f"/api/v1/rounds/{number}/bytes")
        begun = {line["model_bytes"] for lines in sent.values() for line in lines if line["round"] == number}
        assert begun == {shown["model"]}
        assert shown["models_sent"] == 2 * shown["model"]
        assert {line["name"]: line["model"] for line in shown["devices"]} == dict.fromkeys(mine, shown["model"])
        assert sum(line["receipt"] for line in shown["devices"]) == shown["receipts"] > 0
        assert 0 < shown["sum"] < min(mine.values())  # a report is a masked vector of the same length, and an envelope


def test_logs_tell_of_each_round_and_of_no_secret(demo: Demo) -> None:
    logs = {role: demo.folder.log(role).read_text() for role in demo.roles}
    for role in ("main", "aggregator"):
        told = [line for line in events(logs[role]) if line["event"] == "round moved"]
        assert {int(line["round"]) for line in told} >= set(range(1, ROUNDS + 1))
        assert all(re.fullmatch("[0-9a-f]{12}", line["mh"]) for line in told)
        reports = [line for line in events(logs[role]) if line["event"].endswith(" taken")]
        assert all(len(line["device"]) == 32 and int(line["bytes"]) > 0 and line["request"] for line in reports)
        assert len(reports) >= 2 * ROUNDS
    members = {line["device"] for line in events(logs["main"]) if line["event"] == "receipt taken"}
    for role in ("device-1", "device-2"):
        told = [line for line in events(logs[role]) if "round" in line]
        assert len(members & {line["device"] for line in told}) == len({line["device"] for line in told}) == 1
        moments = [(int(line["round"]), line["event"]) for line in told]
        for number in range(1, ROUNDS + 1):
            steps = [event for at, event in moments if at == number]
            assert steps == ["report committed", "report delivered", "round ended"]
    forbidden = secrets_of(demo)
    assert len(forbidden) > 10
    for role, text in logs.items():
        assert "Traceback" not in text
        lines = "\n".join(line for line in text.splitlines() if "log in at http" not in line)  # the owner's own link
        assert not [what for what, secret in forbidden if secret in lines], role


def events(text: str) -> list[dict[str, str]]:
    """What the log lines for people say."""
    lines = (re.fullmatch(r"\S+Z \[\w+ *\] (.+?) {2,}(.*)", line) for line in text.splitlines())
    return [
        {"event": line[1], **dict(pair.split("=", 1) for pair in shlex.split(line[2]) if "=" in pair)}
        for line in lines
        if line
    ]


def secrets_of(demo: Demo) -> list[tuple[str, str]]:
    """Where each secret lies, and the ways in which it could be written: keys, tokens, names of pictures."""
    files = [
        file
        for file in demo.folder.root.rglob("*")
        if file.is_file() and (file.suffix == ".key" or file.name.endswith("-token") or file.parent.name == "tokens")
    ]
    found = [(file.name, writing) for file in files for writing in writings(file)]
    pictures = (file for file in (demo.state / "pictures").rglob("*") if file.suffix in (".png", ".jpg"))
    return found + [("picture", f"/{file.name}") for file in pictures]


def writings(file: Path) -> Iterator[str]:
    data = file.read_bytes()
    words = re.findall(rb"[A-Za-z0-9_+/=-]+", data) if data.isascii() else [data]
    for word in words:
        if len(word) < SHORTEST_SECRET or b"PRIVATE" in word or b"http" in word:
            continue
        text = word.decode("latin-1")
        yield from (text, word.hex(), base64.b64encode(word).decode())


@pytest.mark.timeout(4 * LIMIT_S)
def test_when_all_has_ended_status_says_so(demo: Demo) -> None:
    demo.terminals.close()
    answer = demo.fanlight("status", "--state", str(demo.state))
    assert answer.returncode == 1
    assert "Nothing of Fanlight runs" in answer.stderr
    assert "What to do: Start something" in answer.stderr
    assert answer.stdout == ""
