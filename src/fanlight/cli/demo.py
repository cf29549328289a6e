"""``fanlight demo``: a whole federation on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fanlight.errors import FanlightError, NotPossibleNow, Unreachable, UsageError

if TYPE_CHECKING:
    from fanlight.cli.demo_folder import DemoFolder, Description
    from fanlight.cli.demo_result import Result
    from fanlight.cli.owner_client import OwnerClient
    from fanlight.cli.processes import Processes
    from fanlight.learning.datasets import DataSet

DEMO_DEVICES = 100
_START_S = 90.0
_TICK_S = 0.25
_STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked the demo to end."""


def demo(
    *,
    dataset: Annotated[
        str,
        typer.Option(metavar="NAME|DIR", help="faces, digits, shapes, fashion, stamps, or a folder of pictures."),
    ] = "faces",
    devices: Annotated[int, typer.Option(metavar="N", help=f"How many devices, 2 to {DEMO_DEVICES}.")] = 2,
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Run N rounds by themselves; without it, every step is by hand."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Fixes how pictures are drawn and split; nothing else.")] = 0,
    port_base: Annotated[
        int,
        typer.Option(metavar="PORT", help="Main server; devices 1 and 2 follow, then the aggregator, then the others."),
    ] = 8000,
    state: Annotated[Path, typer.Option(metavar="DIR", help="Where keys, pictures, models and logs are kept.")] = Path(
        "fanlight-state"
    ),
    leave: Annotated[
        bool, typer.Option("--exit", help="End when the rounds are over; always starts from nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --exit: print the result as one JSON line.")] = False,
) -> None:
    """Start a main server, a secure aggregator and devices with real pictures, all on this machine.

    Without --rounds the seven steps of a round are yours: log in by the links that are shown.  Ctrl-C ends everything.
    """
    _check_usage(devices, rounds, seed, port_base, leave=leave, as_json=as_json)
    description, prepared = _prepare(dataset, devices, seed, port_base, state, afresh=leave)
    with _stopped_by_signals():
        try:
            good = _run(description, prepared, rounds, state, leave=leave, as_json=as_json)
        except Stopped:
            _say("Stopped.")
            good = not leave
    if not good:
        raise typer.Exit(1)


def _check_usage(devices: int, rounds: int | None, seed: int, port_base: int, *, leave: bool, as_json: bool) -> None:
    if devices < 2:
        raise UsageError(
            f"{devices} device{'s' * (devices != 1)}: one alone never makes a round.",
            next="Ask for --devices 2 or more.",
        )
    if devices > DEMO_DEVICES:
        raise UsageError(f"{devices} devices are more than one machine should run.", next=f"At most {DEMO_DEVICES}.")
    if rounds is not None and rounds < 1:
        raise UsageError("--rounds must be 1 or more.", next="Leave it out to do every step by hand.")
    if seed < 0:
        raise UsageError("--seed must be 0 or more.")
    if as_json and not leave:
        raise UsageError("--json prints its line when the demo ends.", next="Add --exit.")
    if leave and rounds is None:
        raise UsageError("--exit ends the demo after its rounds.", next="Say how many: --rounds N.")
    if not 1 <= port_base <= 65535 - devices - 1:
        raise UsageError(f"--port-base {port_base} leaves no room for {devices + 2} ports.", next="For example: 8000.")


def _prepare(
    dataset: str, devices: int, seed: int, port_base: int, state: Path, *, afresh: bool
) -> tuple[Description, DataSet]:
    """Everything that can go wrong before the first process starts."""
    from fanlight.cli.demo_folder import Description, check_state
    from fanlight.learning.datasets import NAMES, prepare
    from fanlight.storage.folders import make_private_folder

    if dataset not in NAMES and not Path(dataset).is_dir():
        raise UsageError(
            f"There is no data set and no folder called {dataset}.",
            next=f"Choose one of {', '.join(NAMES)}, or give the path of a folder with pictures.",
            slug="unknown-dataset",
        )
    name = dataset if dataset in NAMES else str(Path(dataset).resolve())
    description = Description(name, (), devices, seed, port_base)
    _check_ports(description)
    if not afresh:
        check_state(state, description)
    _say(f"Preparing pictures: {dataset}.")
    make_private_folder(state)
    prepared = prepare(dataset, devices, seed, state / "pictures")
    return replace(description, classes=prepared.classes), prepared


def _check_ports(description: Description) -> None:
    from fanlight.cli.serve import claim

    for port in description.ports:
        try:
            for listening in claim("localhost", port):
                listening.close()
        except FanlightError as error:
            raise NotPossibleNow(
                error.message,
                next="Stop the program that listens there, or choose another --port-base.",
                slug=error.slug,
            ) from error


def _run(
    description: Description,
    prepared: DataSet,
    rounds: int | None,
    state: Path,
    *,
    leave: bool,
    as_json: bool,
) -> bool:
    """Start everything, follow it to its end; True if all went well."""
    from fanlight.cli.demo_folder import open_demo
    from fanlight.cli.demo_policy import demo_task, write_policy
    from fanlight.cli.processes import Processes

    folder = open_demo(state, description, demo_task(prepared, rounds).to_json(), afresh=leave)
    earlier = 0 if leave else write_policy(folder.main, rounds)
    result: Result | None = None
    _say(f"Starting a main server, an aggregator and {description.devices} devices.  Logs: {folder.root / 'logs'}")
    with Processes(_environment()) as processes:
        roles = _start(processes, folder, description, prepared)
        if not leave:
            _welcome(roles, by_hand=rounds is None)
        if rounds is not None:
            result = _follow(processes, roles, earlier)
        if not leave:
            _wait(processes)
    if result is None:
        return True
    if as_json:
        print(json.dumps(_as_json(description, prepared, result, processes), ensure_ascii=False), flush=True)
    return result.good


def _start(
    processes: Processes, folder: DemoFolder, description: Description, prepared: DataSet
) -> dict[str, OwnerClient]:
    """Start the servers and, when they answer, the devices."""
    from fanlight.cli.owner_client import OwnerClient

    servers = {
        "main": OwnerClient("main", description.main_port, folder.main),
        "aggregator": OwnerClient("aggregator", description.aggregator_port, folder.aggregator),
    }
    for name, command in (("main", "server"), ("aggregator", "aggregator")):
        role = servers[name]
        processes.start(name, [command, "--state", str(role.state), "--port", str(role.port)], folder.log(name))
    _await_health(processes, servers)
    devices = {}
    for number, pictures in enumerate(prepared.device_folders, start=1):
        role = OwnerClient(f"device-{number}", description.device_port(number), folder.device(number))
        devices[role.name] = role
        options = {"--token": folder.token(number), "--data": pictures, "--state": role.state, "--port": role.port}
        words = [str(word) for pair in options.items() for word in pair]
        processes.start(role.name, ["device", *words, "--accept-demo"], folder.log(role.name))
    _await_health(processes, devices)
    return servers | devices


def _await_health(processes: Processes, roles: Mapping[str, OwnerClient]) -> None:
    deadline = time.monotonic() + _START_S
    waiting = dict(roles)
    while waiting:
        processes.check()
        waiting = {name: role for name, role in waiting.items() if not role.is_healthy()}
        if waiting and time.monotonic() > deadline:
            raise Unreachable(f"{', '.join(waiting)}: no answer after {_START_S:.0f} s.", next="See the log files.")
        time.sleep(_TICK_S if waiting else 0)


def _follow(processes: Processes, roles: Mapping[str, OwnerClient], earlier: int) -> Result:
    """Watch the rounds until the last one is measured."""
    from fanlight.cli.demo_progress import Progress
    from fanlight.cli.demo_result import ask

    progress = Progress()
    devices = [role for name, role in roles.items() if name not in ("main", "aggregator")]
    while True:
        processes.check()
        result = ask(roles["main"], devices).since(earlier)
        progress.show(result)
        if result.finished:
            progress.table(result)
            return result
        time.sleep(_TICK_S)


def _wait(processes: Processes) -> None:
    while True:
        processes.check()
        time.sleep(_TICK_S)


def _welcome(roles: Mapping[str, OwnerClient], *, by_hand: bool) -> None:
    _say("\nLog in (each link works once):")
    for name, role in roles.items():
        _say(f"  {name:<12} {role.login_link()}")
    if by_hand:
        devices = " and ".join(role.url for name, role in roles.items() if name.startswith("device-"))
        _say(
            f"\nA round by hand:\n"
            f"  1 train      {devices}: /modeltrain, 'Model Training (Locally)'\n"
            f"  2 announce   the same: /sendstatus, 'Send Status to Main Server'\n"
            f"  3 send       the same: /sendmodel, 'Send Model to Federated Server'\n"
            f"  4 aggregate  {roles['aggregator'].url}/aggregate_models, 'Aggregate Local Models'\n"
            f"  5 release    {roles['aggregator'].url}/send_model_secagg, 'Send Aggregated Model to Main Server'\n"
            f"  6 publish    {roles['main'].url}/send_model_clients, 'Send Aggregated Models to Federated Clients'\n"
            f"  7 measure    every page shows the accuracies"
        )
    _say("\nTwo devices: each can work out the other's update.  This is a demonstration.\nCtrl-C ends everything.")


def _as_json(description: Description, prepared: DataSet, result: Result, processes: Processes) -> dict[str, Any]:
    from fanlight.cli.demo_result import PROTOCOL

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
    from fanlight.cli.serve import END_WITH_STDIN

    prefixes = ("FANLIGHT_SERVER_", "FANLIGHT_AGGREGATOR_", "FANLIGHT_DEVICE_")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(prefixes)}
    # Several processes share the cores: one with a thread for each core would keep the others waiting.
    return {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **kept, END_WITH_STDIN: "1"}


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Signals raise ``Stopped``, once; later ones do not disturb the ending of the processes."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in _STOPPING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    before = {number: signal.signal(number, stop) for number in _STOPPING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
