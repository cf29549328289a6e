"""Hundreds of simulated devices in one process at live servers (``fanlight simulate --connect``): rounds and memory.

Features are made up, so that only what a round takes is measured: long-polls, training of a head of 12,810 numbers on
few examples, masks, uploads, receipts, sums, outcomes, and each device's check that it was summed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.federation import free_ports
from benchmarks.report import Figure, Report
from fanlight.cli.owner_client import OwnerClient
from fanlight.cli.processes import Processes
from fanlight.cli.serve import allow_many_connections
from fanlight.services.federation import init_federation, issue_token_files
from fanlight.services.fleet.connecting import Places, Watch, connect, floors
from fanlight.services.fleet.tokens import read_tokens
from fanlight.services.http.logging import configure_logging
from fanlight.services.lifeline import END_WITH_STDIN
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Task
from fanlight.simulation import Data, Line, Result, Study

_CLASSES, _FEATURES, _EXAMPLES_EACH = 10, 1280, 20
_SERVERS = {"main": "server", "aggregator": "aggregator"}
_DAY_S = 86_400
_TICK_S = 0.1


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", action="store_true", help="print one JSON line at the end")
    asked = parser.parse_args()
    configure_logging(level="WARNING")
    allow_many_connections()
    before_s = time.process_time()
    with tempfile.TemporaryDirectory(prefix="fanlight-fleet-") as name:
        result = live(Path(name), asked.devices, asked.rounds)
    own_s = (time.process_time() - before_s) / asked.rounds
    return Report("fleet", tuple(figures(result, asked.devices, own_s))).show(as_json=asked.json)


def live(folder: Path, devices: int, rounds: int) -> Result:
    """What so many devices find in so many rounds at servers of their own."""
    home, ports = folder / "home", dict(zip(_SERVERS, free_ports(len(_SERVERS)), strict=True))
    urls = {name: f"http://localhost:{port}" for name, port in ports.items()}
    task = Task(
        classes=tuple(f"class {number}" for number in range(_CLASSES)),
        policy=Policy(by_itself=True, demo=True, k_min=2, n_max=max(devices, 2), wait_s=600),
    )
    init_federation(home, main_url=urls["main"], aggregator_url=urls["aggregator"], task_json=task.to_json())
    tokens = issue_token_files(home, "simulated", devices, int(time.time()) + _DAY_S)
    with Processes({**os.environ, END_WITH_STDIN: "1"}) as processes:
        for name, command in _SERVERS.items():
            words = [command, "--state", str(home / name), "--port", str(ports[name])]
            processes.start(name, words, folder / f"{name}.log")
        while not all(OwnerClient.here(name, ports[name], home / name).is_healthy() for name in _SERVERS):
            for death in processes.ended().values():
                raise death
            time.sleep(_TICK_S)
        found = connect(
            Study.of({"partition": "iid", "devices": devices, "rounds": rounds}),
            read_tokens(tokens, main_url=urls["main"]),
            Places(folder / "fleet", folder),
            floors(k_min=5, accept_demo=True),
            Watch(_show, _show),
            made_up(devices, task.classes),
        )
    assert found is not None
    return found


def made_up(devices: int, classes: tuple[str, ...]) -> Data:
    """Examples around as many points as there are classes."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, len(classes), devices * _EXAMPLES_EACH)
    x = 0.3 * generator.standard_normal((y.size, _FEATURES)) + 4 * np.eye(len(classes), _FEATURES)[y]
    return Data.of(x, y, classes)


def figures(result: Result, devices: int, own_s: float) -> list[Figure]:
    """The first round is left out: devices join in it."""
    later = result.rounds[1:] or result.rounds
    missing = sum(devices - (line.live or {}).get("included", 0) for line in later)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return [
        Figure(f"a round of {devices} devices, median", statistics.median(line.seconds for line in later), "s"),
        Figure("the slowest", max(line.seconds for line in later), "s"),
        Figure("reports that were not summed", missing, "", at_most=0),
        Figure("processor time of the devices, all together, a round", own_s, "s"),
        Figure("most memory of their process, with all examples", peak, "MB"),
    ]


def _show(said: Line | str) -> None:
    line = said if isinstance(said, str) else f"round {said.round}: {said.participants} devices, {said.seconds:.1f} s"
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
