"""A federation of real processes for benchmarks: main server, aggregator, and devices that do not train."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.idle import FEATURES_VARIABLE, backbone_id, register
from fanlight.cli.owner_client import OwnerClient
from fanlight.cli.processes import Processes
from fanlight.cli.serve import claim
from fanlight.errors import LocalError
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.lifeline import END_WITH_STDIN

LIMIT_S = 300.0
_TICK_S = 0.05
_DAY_S = 86_400

Rows = list[tuple[Any, ...]]


@dataclass
class Federation:
    """The processes by name, and a client for each."""

    folder: Path
    processes: Processes
    ports: dict[str, int]
    roles: dict[str, OwnerClient] = field(default_factory=dict)

    def ask(self, role: str, path: str) -> Any:
        """What the owner's API of ``role`` answers."""
        return self.roles[role].get(path)

    def read(self, query: str, *values: object) -> Rows:
        """What the main server's database answers: without asking the server, which may be dead or being measured."""
        path = self.folder / "federation" / "main" / "state.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(query, values).fetchall()

    def wait_until(self, role: str, path: str, key: str, limit_s: float = LIMIT_S) -> Any:
        """Ask until ``key`` of the answer is true; the answer.

        Raises:
            LocalError: a process has ended, or it took longer than ``limit_s`` seconds.
        """
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for death in self.processes.ended().values():
                raise death
            answer = self.ask(role, path)
            if answer[key]:
                return answer
            time.sleep(_TICK_S)
        raise LocalError(f"{key} of {role}{path} did not come within {limit_s:.0f} s: {answer}")


@contextmanager
def federation(
    folder: Path,
    *,
    devices: int,
    features: int,
    classes: int,
    policy: dict[str, Any],
    start: bool = True,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Federation]:
    """Start a federation of idle devices; all processes end with the block.

    Args:
        folder: where its state is kept.
        devices: how many.
        features, classes: size of the head: (features + 1) * classes parameters.
        policy: of the task; see ``services.main_server.task.Policy``.
        start: start the processes.
        more: variables of their environment.
    """
    register(features)
    from fanlight.services.main_server.policy import Policy
    from fanlight.services.main_server.task import Task

    names = ["main", "aggregator", *(f"device-{number}" for number in range(1, devices + 1))]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    made = folder / "federation"
    task = Task(
        classes=tuple(f"class {number}" for number in range(classes)),
        backbone=backbone_id(features),
        policy=Policy(**{"demo": True, "k_min": 2, "by_itself": True, **policy}),
    )
    init_federation(
        made,
        main_url=f"http://localhost:{ports['main']}",
        aggregator_url=f"http://localhost:{ports['aggregator']}",
        task_json=task.to_json(),
    )
    environment = {**os.environ, END_WITH_STDIN: "1", FEATURES_VARIABLE: str(features), **more}
    with Processes(environment, module="benchmarks.idle") as processes:
        running = Federation(folder, processes, ports)
        if start:
            for name in names:
                start_role(running, name)
            wait_for_all(running, names)
        yield running


def start_role(federation: Federation, name: str) -> None:
    """Start one process."""
    made, port = federation.folder / "federation", federation.ports[name]
    if name.startswith("device"):
        state = federation.folder / name
        token = issue_token(federation, name)
        pictures = federation.folder / "pictures"
        pictures.mkdir(exist_ok=True)
        words = ["device", "--token", token, "--data", pictures, "--state", state, "--port", port, "--accept-demo"]
    else:
        state = made / name
        words = ["server" if name == "main" else name, "--state", state, "--port", port]
    federation.processes.start(name, [str(word) for word in words], federation.folder / f"{name}.log")
    federation.roles[name] = OwnerClient.here(name, port, state)


def issue_token(federation: Federation, name: str) -> Path:
    """The file with which device ``name`` joins, made if it is not there."""
    made = federation.folder / "federation"
    token = made / "tokens" / f"{name}.json"
    return token if token.exists() else issue_token_file(made, name, int(time.time()) + _DAY_S)


def wait_for_all(federation: Federation, names: Sequence[str]) -> None:
    """Wait until they answer.

    Raises:
        LocalError: one has ended, or does not answer in time.
    """
    deadline = time.monotonic() + LIMIT_S
    while not all(federation.roles[name].is_healthy() for name in names):
        for death in federation.processes.ended().values():
            raise death
        if time.monotonic() > deadline:
            raise LocalError(f"not all of {', '.join(names)} answer after {LIMIT_S:.0f} s")
        time.sleep(_TICK_S)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on just now."""
    sockets = [claim("localhost", 0) for _ in range(count)]
    try:
        return [int(bound[0].getsockname()[1]) for bound in sockets]
    finally:
        for bound in sockets:
            for listening in bound:
                listening.close()
