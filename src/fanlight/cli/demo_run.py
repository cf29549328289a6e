"""One run of a demo: start the roles, tell the person what to do, follow the rounds, sum up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanlight.cli.demo_folder import DemoFolder, Description, open_demo
from fanlight.cli.demo_policy import demo_task, write_policy
from fanlight.cli.demo_progress import Progress
from fanlight.cli.demo_result import NOTHING_YET, PROTOCOL, Result, ask, with_local_accuracies
from fanlight.cli.demo_run_devices import SERVERS, Survival
from fanlight.cli.owner_client import OwnerClient
from fanlight.cli.processes import Processes
from fanlight.cli.saying import say
from fanlight.cli.task_options import Choices, Head
from fanlight.errors import FanlightError, Unreachable
from fanlight.learning.datasets import DataSet
from fanlight.services.lifeline import END_WITH_STDIN

_START_S = 90.0
_COME_BACK_S = 20.0
_DEATH_SHOWS_S = 3.0
_TICK_S = 0.25
_ENDED_BY_ASKING = frozenset({"paused", "no-better", "dropped"})
"""Why no round opens, where asking for more rounds changes that."""


@dataclass
class _Known:
    """What the rounds have come to so far."""

    result: Result = NOTHING_YET


def run(
    description: Description,
    prepared: DataSet,
    rounds: int | None,
    state: Path,
    choices: Choices,
    *,
    leave: bool,
    as_json: bool,
) -> bool:
    """Start everything, follow it to its end; True if all went well.

    With ``as_json`` the line is printed however it ends: with what is known by then.

    Raises:
        LocalError, Unreachable: it cannot go on.
    """
    task = demo_task(prepared, rounds, choices, Head(description.head), description.backbone, description.fine_tune)
    folder = open_demo(state, description, task.to_json(), afresh=leave)
    earlier = 0 if leave else write_policy(folder.main, rounds, choices)
    known = _Known()
    say(f"Starting a main server, an aggregator and {description.devices} devices.  Logs: {folder.root / 'logs'}")
    processes = Processes(_environment())
    try:
        with processes:
            survival = Survival(processes, say)
            with _cause_of_silence(survival):
                roles = _start(survival, folder, description, prepared)
                if task.policy.paused:
                    _begin_with_all(survival, roles["main"], description.devices)
                if not leave:
                    _welcome(roles, by_hand=rounds is None)
                if rounds is not None:
                    _go_on(roles["main"], rounds)
                    _follow(survival, roles, earlier, known)
                if not leave:
                    _wait(survival)
    finally:
        if as_json:
            line = _as_json(description, prepared, known.result, processes)
            print(json.dumps(line, ensure_ascii=False), flush=True)
    return known.result.good


def _start(
    survival: Survival, folder: DemoFolder, description: Description, prepared: DataSet
) -> dict[str, OwnerClient]:
    """Start the servers and, when they answer, the devices; those that run."""
    processes = survival.processes
    servers = {
        "main": OwnerClient.here("main", description.main_port, folder.main),
        "aggregator": OwnerClient.here("aggregator", description.aggregator_port, folder.aggregator),
    }
    for name, command in (("main", "server"), ("aggregator", "aggregator")):
        role = servers[name]
        processes.start(name, [command, "--state", str(role.state), "--port", str(role.port)], folder.log(name))
    _await_start(survival, servers)
    devices = {}
    for number, pictures in enumerate(prepared.device_folders, start=1):
        role = OwnerClient.here(f"device-{number}", description.device_port(number), folder.device(number))
        devices[role.name] = role
        options = {"--token": folder.token(number), "--data": pictures, "--state": role.state, "--port": role.port}
        words = [str(word) for pair in options.items() for word in pair]
        processes.start(role.name, ["device", *words, "--accept-demo"], folder.log(role.name))
    _await_start(survival, devices)
    return servers | devices


def _begin_with_all(survival: Survival, main: OwnerClient, devices: int, limit_s: float = _START_S) -> None:
    """Let rounds open when all devices have joined that have not left for good, or after ``limit_s``, and say so."""
    deadline = time.monotonic() + limit_s
    while True:
        status = main.get("/api/v1/status")
        joined, gone = status["members"], status["devices"]["left"] + status["devices"]["revoked"]
        if joined + gone >= devices:
            break
        if time.monotonic() >= deadline:
            say(f"Only {joined} of {devices - gone} devices have joined after {limit_s:.0f} s; it begins with these.")
            break
        survival.check()
        time.sleep(_TICK_S)
    main.post("/api/v1/go-on")


def _go_on(main: OwnerClient, rounds: int) -> None:
    """A demo that was paused, or that a rule has stopped, and is asked for more rounds has them."""
    held = main.get("/api/v1/status")["held"]
    if held is not None and held["reason"] in _ENDED_BY_ASKING:
        main.post("/api/v1/go-on")
        more = "one more round" if rounds == 1 else f"{rounds} more rounds"
        say(f"It had ended: {held['title']} {held['message']}", f"You ask for {more}, so it goes on.")


def _await_start(survival: Survival, roles: Mapping[str, OwnerClient]) -> None:
    if silent := _await_health(survival, roles, _START_S):
        raise Unreachable(f"{', '.join(silent)}: no answer after {_START_S:.0f} s.", next="See the log files.")


def _await_health(survival: Survival, roles: Mapping[str, OwnerClient], limit_s: float) -> list[str]:
    """Wait until all that run answer; those that still do not after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    waiting = dict(roles)
    while waiting:
        survival.check()
        waiting = {name: role for name, role in waiting.items() if survival.runs(name) and not role.is_healthy()}
        if waiting and time.monotonic() > deadline:
            break
        time.sleep(_TICK_S if waiting else 0)
    return list(waiting)


def _follow(survival: Survival, roles: Mapping[str, OwnerClient], earlier: int, known: _Known) -> None:
    """Watch the rounds until the last one is measured."""
    progress = Progress()
    devices = {name: role for name, role in roles.items() if name not in SERVERS}
    try:
        while not known.result.finished:
            time.sleep(_TICK_S)
            survival.check()
            known.result = ask(roles["main"]).since(earlier)
            progress.show(known.result)
            if all(entry.over for entry in known.result.rounds):
                progress.hold(roles["main"].get("/api/v1/status")["held"])
        _await_health(survival, devices, _COME_BACK_S)
    except FanlightError:
        known.result = with_local_accuracies(known.result, list(devices.values()))
        raise
    known.result = with_local_accuracies(known.result, list(devices.values()))
    progress.table(known.result)


@contextmanager
def _cause_of_silence(survival: Survival) -> Iterator[None]:
    """That a process has ended says more than that it does not answer, and shows a moment later."""
    try:
        yield
    except Unreachable:
        deadline = time.monotonic() + _DEATH_SHOWS_S
        while time.monotonic() < deadline:
            survival.check()
            time.sleep(_TICK_S)
        raise


def _wait(survival: Survival) -> None:
    while True:
        survival.check()
        time.sleep(_TICK_S)


def _welcome(roles: Mapping[str, OwnerClient], *, by_hand: bool) -> None:
    say("", "Log in (each link works once):")
    for name, role in roles.items():
        say(f"  {name:<12} {role.login_link()}")
    if by_hand:
        devices = " and ".join(role.url for name, role in roles.items() if name.startswith("device-"))
        say(
            "",
            "A round by hand:",
            f"  1 train      {devices}: /modeltrain, 'Model Training (Locally)'",
            "  2 announce   the same: /sendstatus, 'Send Status to Main Server'",
            "  3 send       the same: /sendmodel, 'Send Model to Federated Server'",
            f"  4 aggregate  {roles['aggregator'].url}/aggregate_models, 'Aggregate Local Models'",
            f"  5 release    {roles['aggregator'].url}/send_model_secagg, 'Send Aggregated Model to Main Server'",
            f"  6 publish    {roles['main'].url}/send_model_clients, 'Send Aggregated Models to Federated Clients'",
            "  7 measure    every page shows the accuracies",
        )
    few = "Two devices: each can" if len(roles) == 4 else "So few devices: all but one together can"
    say("", f"This is a demonstration.  {few} work out the other's update.", "Ctrl-C ends everything.")


def _as_json(description: Description, prepared: DataSet, result: Result, processes: Processes) -> dict[str, Any]:
    return {
        "dataset": prepared.name,
        "classes": list(prepared.classes),
        "devices": [f"device-{number}" for number in range(1, description.devices + 1)],
        "protocol": PROTOCOL,
        "rounds": [entry.as_json() for entry in result.rounds],
        "model": {name: result.model[name] for name in ("version", "sha256")},
        "peak_rss_mb": processes.peak_rss_mb(),
    }


def _environment() -> dict[str, str]:
    """The caller's environment, without settings that are meant for roles of their own."""
    prefixes = ("FANLIGHT_SERVER_", "FANLIGHT_AGGREGATOR_", "FANLIGHT_DEVICE_")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(prefixes)}
    # Several processes share the cores: one with a thread for each core would keep the others waiting.
    return {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **kept, END_WITH_STDIN: "1"}
