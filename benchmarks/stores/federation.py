"""A federation that has been at work for long: main server, aggregator and one of its devices, with full stores."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from benchmarks.federation import free_ports
from benchmarks.page_addresses import Newest
from benchmarks.stores.aggregator import fill_aggregator
from benchmarks.stores.device import fill_device
from benchmarks.stores.main_server import fill_main
from benchmarks.stores.past import Servers, past_rounds
from benchmarks.stores.pictures import draw_pictures
from benchmarks.stores.studies import fill_studies
from fanlight.cli.owner_client import OwnerClient
from fanlight.cli.processes import Processes
from fanlight.consoles import aggregator as aggregator_pages
from fanlight.consoles import device as device_pages
from fanlight.consoles import main_server as main_pages
from fanlight.errors import LocalError
from fanlight.protocol import identities
from fanlight.protocol.exchange import Enrolments
from fanlight.protocol.signing import raw_public_key
from fanlight.services.aggregator.app import AggregatorParts
from fanlight.services.aggregator.app import create_app as create_aggregator
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.device.app import create_app as create_device
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.lifeline import END_WITH_STDIN
from fanlight.services.main_server.app import STUDIES_FOLDER, MainServerParts
from fanlight.services.main_server.app import create_app as create_main
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import Task
from fanlight.services.main_server.version_files import MODELS_FOLDER, VersionFiles

CLASSES = ("bear", "bird", "bus", "car", "cat", "dog", "fox", "parcel", "person", "truck")
ROLES = ("main", "aggregator", "device")
_LIST = 50
_LIMIT_S = 300.0
_TICK_S = 0.1
_DAY_S = 86_400
_ENROLMENTS_AT_ONCE = 256


@dataclass(frozen=True)
class Size:
    """How many ``devices`` (one of them real), past ``rounds``, and ``pictures`` of that one device."""

    devices: int
    rounds: int
    pictures: int


@dataclass(frozen=True)
class Filled:
    """What was built: the application of each role, for its routes; a client for each; the newest of everything."""

    apps: dict[str, FastAPI]
    clients: dict[str, OwnerClient]
    newest: Newest


@contextmanager
def full_federation(folder: Path, size: Size) -> Iterator[Filled]:
    """Fill the stores, and serve them by one process a role until the block ends.

    Raises:
        LocalError: a process has ended, or did not get ready in time.
    """
    ports = dict(zip(ROLES, free_ports(len(ROLES)), strict=True))
    built = _fill(folder, size, ports)
    with Processes({**os.environ, END_WITH_STDIN: "1"}) as processes:
        for name, words in _commands(folder, ports).items():
            processes.start(name, words, folder / f"{name}.log")
        _wait(processes, built)
        yield built


def _commands(folder: Path, ports: dict[str, int]) -> dict[str, list[str]]:
    made = folder / "federation"
    device = ["--token", made / "tokens" / "device-1.json", "--data", folder / "pictures", "--state", folder / "device"]
    words: dict[str, list[Any]] = {
        "main": ["server", "--state", made / "main"],
        "aggregator": ["aggregator", "--state", made / "aggregator"],
        "device": ["device", *device],
    }
    return {name: [*map(str, given), "--port", str(ports[name])] for name, given in words.items()}


def _fill(folder: Path, size: Size, ports: dict[str, int]) -> Filled:
    made = folder / "federation"
    policy = Policy(k_min=min(5, size.devices))
    task = Task(classes=CLASSES, policy=policy)
    init_federation(
        made,
        main_url=f"http://localhost:{ports['main']}",
        aggregator_url=f"http://localhost:{ports['aggregator']}",
        task_json=task.to_json(),
    )
    draw_pictures(folder / "pictures", CLASSES, size.pictures)
    token = issue_token_file(made, "device-1", int(time.time()) + _DAY_S)
    main_app, main = create_main(MainServerSettings(state=made / "main", port=ports["main"]))
    aggregator_app, aggregator = create_aggregator(
        AggregatorSettings(state=made / "aggregator", port=ports["aggregator"])
    )
    device_app, role = create_device(
        DeviceSettings(state=folder / "device", token=token, data=folder / "pictures", port=ports["device"])
    )
    main_pages.install(main_app, main)
    aggregator_pages.install(aggregator_app, aggregator)
    device_pages.install(device_app, role)
    devices = _enrol(made, size.devices, main, aggregator, role)
    past = list(past_rounds(Servers(main.service.identity, aggregator.service.identity, task), devices, size.rounds))
    fill_main(main.service, VersionFiles(made / "main" / MODELS_FOLDER), devices, past)
    fill_studies(made / "main" / STUDIES_FOLDER)
    fill_aggregator(aggregator.service, devices, past)
    fill_device(role, task.plan, past)
    picture = role.library.page().pictures[0].sha256
    main.service.close()
    aggregator.service.close()
    role.stop()
    apps = dict(zip(ROLES, (main_app, aggregator_app, device_app), strict=True))
    states = dict(zip(ROLES, (made / "main", made / "aggregator", folder / "device"), strict=True))
    clients = {name: OwnerClient.here(name, ports[name], states[name]) for name in ROLES}
    last = past[-1].made or past[-1].start
    return Filled(apps, clients, Newest(size.rounds, last.number, max(1, -(-size.rounds // _LIST)), picture))


def _enrol(
    federation: Path, count: int, main: MainServerParts, aggregator: AggregatorParts, role: DeviceRole
) -> list[bytes]:
    """Enrol the device and ``count`` - 1 others that exist only here; their ids."""
    root = Ed25519PrivateKey.from_private_bytes(bytes.fromhex((federation / "root" / "root.key").read_text().strip()))
    fid, now, token = role.token.trust.fid, int(time.time()), role.token
    messages = [identities.enrol(fid, token.certificate, token.private, role.identity.device.private)]
    for number in range(2, count + 1):
        private = Ed25519PrivateKey.generate()
        certificate = identities.issue_token(root, raw_public_key(private), now + _DAY_S, f"Doorbell of house {number}")
        messages.append(identities.enrol(fid, certificate, private, Ed25519PrivateKey.generate()))
    devices = [main.service.membership.enrol(message, now)[0].device for message in messages]
    for message in messages:
        aggregator.service.membership.enrol(message, now)
    for start in range(0, count, _ENROLMENTS_AT_ONCE):
        some = tuple(messages[start : start + _ENROLMENTS_AT_ONCE])
        main.service.take_enrolments(Enrolments(enrolments=some).encode())
    return devices


def _wait(processes: Processes, built: Filled) -> None:
    """Until all answer, the next round is open at all three, and the device has read its pictures."""
    deadline = time.monotonic() + _LIMIT_S
    while not _ready(built):
        for death in processes.ended().values():
            raise death
        if time.monotonic() > deadline:
            raise LocalError(f"the federation is not ready after {_LIMIT_S:.0f} s")
        time.sleep(_TICK_S)


def _ready(built: Filled) -> bool:
    if not all(client.is_healthy() for client in built.clients.values()):
        return False
    device = built.clients["device"].get("/api/v1/status")
    main = built.clients["main"].get("/api/v1/status")
    is_open = main["round"] is not None and main["round"]["state"] == "open"
    return is_open and device["round"] is not None and device["pictures"]["counts"] is not None
