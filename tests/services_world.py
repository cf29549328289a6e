"""A whole federation over the real services: real HTTP on free loopback ports, real SQLite and files.

Both servers, and devices if asked for, run under uvicorn in threads of the test's process, so that a test can look
inside them, stop any of them and start it again on the same port and folder. ``ProtocolDevice`` is a device without
pictures: the protocol's device and the real HTTP client, with contributions made by hand. Nothing here sleeps for a
fixed time: ``wait`` asks again until something is so, for as long as a busy machine may need.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanlight.cli.audit_sources import open_log
from fanlight.cli.task_options import with_backbone
from fanlight.core import ring
from fanlight.core.randomness import Keystream
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.datasets import shapes
from fanlight.learning.datasets.chance import Chance
from fanlight.protocol import identities
from fanlight.protocol.audit.both import Audit
from fanlight.protocol.audit.findings import Finding, Flaw
from fanlight.protocol.closing import OutcomeForDevice
from fanlight.protocol.contribution import Contribution, Measured, encode
from fanlight.protocol.device import Device
from fanlight.protocol.device_round import Floors, History, Record
from fanlight.protocol.digests import device_id
from fanlight.protocol.exchange import Offer
from fanlight.protocol.identities import Role
from fanlight.protocol.log import verify_chain
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import Envelope
from fanlight.protocol.signing import raw_public_key
from fanlight.services.aggregator.app import AggregatorParts
from fanlight.services.aggregator.app import create_app as create_aggregator
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.device.app import create_app as create_device
from fanlight.services.device.client import _AT_ONCE, AggregatorClient, MainClient
from fanlight.services.device.offers import allowed_backbones
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import Token, init_federation, issue_token_file, keep_backbone, read_token
from fanlight.services.http.remote import Answer, Remote
from fanlight.services.http.sessions import API_TOKEN_FILE
from fanlight.services.main_server import members, round_table
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.app import create_app as create_main
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import HeadName, Task, Training
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.round_keys import FILE
from fanlight.storage.database import Database
from fanlight.storage.secret_slot import Numbered, SecretSlot

T = TypeVar("T")

HOST = "127.0.0.1"
CLASSES = ("circle", "square")
PICTURE_SIZE = 32
CLIENT = httpx.Client(trust_env=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
"""One for all owners: each client loads the machine's certificates anew."""
DEADLINE_S = 60.0
"""Long enough for a busy machine; nothing takes that long unless it is broken."""


def wait(condition: Callable[[], T | None], what: str, deadline_s: float = DEADLINE_S) -> T:
    """What ``condition`` returns as soon as it is true."""
    until = time.monotonic() + deadline_s
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"still not so after {deadline_s:g} s: {what}")
        time.sleep(0.02)
    return found


class Clock:
    """The time, for all roles of a world; in a test it can pass at once, stand still, or jump by an ``offset``."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._passed = 0.0
        self._stands_at: float | None = None

    def __call__(self) -> float:
        return time.time() + self._passed + self.offset

    def monotonic(self) -> float:
        """What only grows: it knows of no jumps."""
        now = time.monotonic() if self._stands_at is None else self._stands_at
        return now + self._passed

    def let_pass(self, seconds: float) -> None:
        self._passed += seconds

    def stand_still(self) -> None:
        """From now on, what only grows does so by ``let_pass`` alone.

        So a device without a loop of its own, that asks for news only when the test has it do so, stays present however
        long the machine takes for that.
        """
        self._stands_at = time.monotonic()


class Port:
    """A port kept for one role: bound for as long as the world lives, so that nobody else gets it meanwhile."""

    def __init__(self) -> None:
        self._held = self._new()
        self._held.bind((HOST, 0))
        self.number: int = self._held.getsockname()[1]
        self.url = f"http://{HOST}:{self.number}"

    def listen(self) -> socket.socket:
        listening = self._new()
        listening.bind((HOST, self.number))
        return listening

    def free(self) -> None:
        self._held.close()

    @staticmethod
    def _new() -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made


class Dated:
    """Answers carry the world's time, as a server's clock and its ``Date`` agree in life."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app, self._clock = app, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Date"] = formatdate(self._clock(), usegmt=True)
            await send(message)

        await self._app(scope, receive, dated)


class Running:
    """An application under uvicorn in a thread."""

    def __init__(self, app: FastAPI, port: Port, clock: Clock) -> None:
        config = uvicorn.Config(
            Dated(app, clock),
            http="httptools",
            log_config=None,
            access_log=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._socket = port.listen()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name=f"uvicorn-{port.number}")
        self._thread.start()
        wait(lambda: self._server.started or not self._thread.is_alive(), f"{app.title} has started")
        assert self._thread.is_alive(), f"{app.title} did not start"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@dataclass
class Owner:
    """The owner of one role, with its api-token."""

    url: str
    state: Path

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.state / API_TOKEN_FILE).read_text().strip()}"}

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return CLIENT.request(method, self.url + path, headers=self._headers(), json=body)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def status(self) -> Any:
        return self.get("/api/v1/status")

    def start(self, route: str) -> str:
        """Start a step; the address of its job."""
        answer = self.ask("POST", route)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["status_url"])

    def ended(self, route: str) -> Any:
        """Perform a step and wait for its end, good or bad; the job."""
        url = self.start(route)

        def job() -> Any:
            found = self.get(url)
            return found if found["state"] in ("done", "failed") else None

        return wait(job, f"{route} has ended")

    def step(self, route: str) -> Any:
        """Perform a step that must succeed; its result."""
        job = self.ended(route)
        assert job["state"] == "done", job
        return job["result"]

    def refused(self, route: str) -> str:
        """Ask for a step that is not possible now; the slug of the reason."""
        answer = self.ask("POST", route)
        assert answer.status_code >= 400, answer.text
        error = answer.json()["error"]
        assert error["message"], "an error says what happened"
        return str(error["slug"])


@dataclass
class ServiceDevice:
    """A real device service: its folders, and its parts while it runs."""

    number: int
    settings: DeviceSettings
    port: Port
    clock: Clock
    role: DeviceRole | None = None
    running: Running | None = None

    @property
    def owner(self) -> Owner:
        return Owner(self.port.url, self.settings.state)

    @property
    def id(self) -> str:
        return (self.settings.state / "device.id").read_text().split()[1]

    def sees_round(self) -> Any:
        """The open round as the device knows it; None while it knows of none."""
        return self.owner.status()["round"]

    def restart(self) -> None:
        self.stop()
        self.start()

    def send_model(self) -> None:
        """Steps 1 to 3 by hand."""
        for route in ("/modeltrain", "/sendstatus", "/sendmodel"):
            self.owner.step(route)

    def start(self) -> ServiceDevice:
        app, self.role = create_device(self.settings, chances=Chances(clock=self.clock))
        self.running = Running(app, self.port, self.clock)
        return self

    def stop(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None


@dataclass(frozen=True)
class Sent:
    """One report: the record, y as it goes over the wire, and the vector before masking."""

    record: Record
    y: NDArray[np.uint32]
    plain: NDArray[np.int64]

    @property
    def envelope(self) -> Envelope:
        return Envelope.decode(self.record.envelope)


class World:
    """A federation in ``folder``. Keyword arguments are the policy's; two devices are enough unless told otherwise.

    Its backbone is the usual one, or that of the file ``backbone``. All go by one clock, until a server is started with
    another one in ``clocks``; it may stand still from the beginning, see ``Clock.stand_still``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        classes: Sequence[str] = CLASSES,
        head: HeadName = "softmax",
        backbone: Path | None = None,
        stands_still: bool = False,
        **policy: Any,
    ) -> None:
        self.folder = folder
        self.clock = Clock()
        if stands_still:
            self.clock.stand_still()
        self.clocks = {"main": self.clock, "aggregator": self.clock}
        self.ports = {"main": Port(), "aggregator": Port()}
        self.federation = folder / "federation"
        self.policy = Policy(**{"demo": True, "k_min": 2, "n_max": 50, "r_max_percent": 34, **policy})
        self.task = Task(
            classes=tuple(classes),
            picture_size=PICTURE_SIZE,
            head=head,
            training=Training(epochs=2),
            policy=self.policy,
        )
        self.task, file = with_backbone(self.task, backbone) if backbone else (self.task, None)
        self.main: MainServerParts
        self.aggregator: AggregatorParts
        self.apps: dict[str, FastAPI] = {}
        self.devices: list[ServiceDevice] = []
        self._running: dict[str, Running] = {}
        self._closing: list[Callable[[], None]] = []
        init_federation(
            self.federation,
            main_url=self.ports["main"].url,
            aggregator_url=self.ports["aggregator"].url,
            task_json=self.task.to_json(),
        )
        if file is not None:
            keep_backbone(self.federation, *file)

    # ---- both servers

    def start(self) -> World:
        self.start_main()
        self.start_aggregator()
        return self

    def start_main(self) -> None:
        settings = MainServerSettings(state=self.federation / "main", host=HOST, port=self.ports["main"].number)
        clock = self.clocks["main"]
        app, self.main = create_main(settings, clock=clock, monotonic=clock.monotonic)
        self.apps["main"] = app
        self._running["main"] = Running(app, self.ports["main"], clock)

    def start_aggregator(self) -> None:
        settings = AggregatorSettings(
            state=self.federation / "aggregator", host=HOST, port=self.ports["aggregator"].number
        )
        clock = self.clocks["aggregator"]
        app, self.aggregator = create_aggregator(settings, clock=clock, monotonic=clock.monotonic)
        self.apps["aggregator"] = app
        self._running["aggregator"] = Running(app, self.ports["aggregator"], clock)

    def stop_main(self) -> None:
        if running := self._running.pop("main", None):
            self.main.service.news.close()  # as the signal to end does: nobody waits for an answer any more
            running.stop()

    def stop_aggregator(self) -> None:
        if running := self._running.pop("aggregator", None):
            running.stop()

    def restart_main(self) -> None:
        self.stop_main()
        self.start_main()

    def restart_aggregator(self) -> None:
        self.stop_aggregator()
        self.start_aggregator()

    def close(self) -> None:
        for close in self._closing:
            close()
        for device in self.devices:
            device.stop()
        self.stop_aggregator()
        self.stop_main()
        for port in (*self.ports.values(), *(device.port for device in self.devices)):
            port.free()

    # ---- devices

    def token(self, name: str, expires_in: int = 3600) -> Path:
        return issue_token_file(self.federation, name, int(self.clock()) + expires_in)

    def add_device(self, **settings: Any) -> ServiceDevice:
        """A real device with pictures of its own; not started."""
        number = len(self.devices) + 1
        port, name = Port(), f"device-{number}"
        pictures = self.folder / "pictures" / name
        draw(pictures, number)
        chosen: dict[str, Any] = {
            "state": self.folder / name, "host": HOST, "port": port.number, "token": self.token(name),
            "data": pictures, "accept_demo": True, "poll_wait_s": 2.0,
        }  # fmt: skip
        device = ServiceDevice(number, DeviceSettings(**{**chosen, **settings}), port, self.clock)
        if self.task.own_backbone is None:
            compile_backbone(self.task.backbone, device.settings.state / "backbones")
        self.devices.append(device)
        return device

    def protocol_device(self, name: str | None = None) -> ProtocolDevice:
        """A device without pictures; not enrolled."""
        return ProtocolDevice(self, read_token(self.token(name or f"p-{len(self._closing) + 1}")))

    def enrolled(self, count: int) -> list[ProtocolDevice]:
        """So many devices without pictures, members at both servers, with an open round."""
        made = [self.protocol_device() for _ in range(count)]
        for device in made:
            device.enrol()
        self.wait_members(device.device.device for device in made)
        wait(self.open_round, "a round is open")
        return made

    def wait_members(self, devices: Iterator[bytes] | list[bytes]) -> None:
        wanted = set(devices)
        wait(lambda: wanted <= self.aggregator.service.reception.confirmed, "the devices are members at both servers")

    # ---- what is so

    def owner(self, role: str) -> Owner:
        return Owner(self.ports[role].url, self.federation / role)

    def aggregate(self) -> None:
        """Steps 4 to 6 by hand, all at the main server."""
        self.owner("main").step("/aggregate_models")
        self.owner("main").step("/send_model_clients")

    def round(self, number: int, **expected: Any) -> dict[str, Any] | None:
        """Round ``number`` if it is there and as ``expected``."""
        for entry in self.rounds():
            if entry["round"] == number and expected.items() <= entry.items():
                return entry
        return None

    def rounds(self) -> list[dict[str, Any]]:
        """All rounds at main, oldest first, of both kinds."""
        answer = self.owner("main").get("/api/v1/rounds")
        return sorted(answer["rounds"] + answer["measuring_rounds"], key=lambda entry: int(entry["round"]))

    def open_round(self) -> int | None:
        """The number of the round that is open at both servers."""
        main, there = self.main.service.latest(), self.aggregator.service.rounds.latest()
        if main is None or there is None or main.mh != there.record.mh:
            return None
        return main.number if (main.state, there.record.state) == ("open", "collecting") else None

    def snapshot(self) -> dict[str, Any]:
        """Everything that an attack must leave as it is: reports, files, rounds, members."""
        main, aggregator = self.main.service, self.aggregator.service
        stored = aggregator.rounds.latest()
        with main.database.transaction() as tx:
            beacons = round_table.reports_by_device(tx, stored.record.mh) if stored else {}
            confirmed = members.confirmed(tx)
        return {
            "reports": aggregator.rounds.count(stored.record.mh) if stored else 0,
            "files": self.report_files(),
            "rounds": (self.rounds(), main.latest(), stored),
            "beacons": beacons,
            "members": (confirmed, dict(main.membership.public_keys()), dict(aggregator.membership.public_keys())),
        }

    def report_files(self) -> dict[str, bytes]:
        """Every file in the aggregator's reports folder, unfinished ones too."""
        found = dict[str, bytes]()
        for path in sorted((self.federation / "aggregator" / "reports").iterdir()):
            with suppress(FileNotFoundError):  # it may be deleted just now
                if path.is_file():
                    found[path.name] = path.read_bytes()
        return found

    def round_key(self, role: str) -> Numbered | None:
        """The round key that a server has on its disk, and of which round it is."""
        return SecretSlot(self.federation / role / "round-keys" / FILE).read()

    def check_traces(self) -> None:
        """An audit finds nothing in the logs, and of rounds that are over neither key nor report is left."""
        assert self.audit() == []
        # a moment passes between an outcome and its clearing up, and between a report's file and its row
        wait(self._is_cleared_up, "keys and reports of rounds that are over are gone")

    def _is_cleared_up(self) -> bool:
        main, there = self.main.service.latest(), self.aggregator.service.rounds.latest()
        numbers = ([main.number] if main else []) + ([there.record.number] if there else [])
        over = main is not None and main.is_over
        held = self.aggregator.service.rounds.count(there.record.mh) if there and not over else 0
        keys = {key.number for role in self.ports if (key := self.round_key(role)) is not None}
        return keys <= (set() if over else set(numbers)) and len(self.report_files()) <= held

    def audit(self) -> list[Finding]:
        """What an audit of both logs finds."""
        return audit({role: self.federation / role.value for role in Role})

    def log_types(self, role: str) -> list[str]:
        """Verify a server's whole hash chain; the types of its entries."""
        part = self.main.service if role == "main" else self.aggregator.service
        return chain_types(part.log, part.database)


def audit(folders: Mapping[Role, Path]) -> list[Finding]:
    """What an audit of both servers' logs finds, as they lie in their state folders.

    They are read one after the other, while rounds may go on: that one is ahead of the other is not counted.
    """
    logs = [open_log(folder, role) for role, folder in folders.items()]
    made = Audit(logs[0].trust, [log.source for log in logs])
    for _ in made.rounds():
        pass
    return [finding for finding in made.findings.kept if finding.flaw is not Flaw.BEHIND]


def chain_types(log: ChainedLog, database: Database) -> list[str]:
    """Verify a hash chain; the types of its entries."""
    with database.transaction() as tx:
        entries = list(log.entries(tx, limit=100_000))
        assert verify_chain(log.fid, log.role, entries) == log.head(tx)
    return [entry.type for entry in entries]


@contextmanager
def running(folder: Path, **policy: Any) -> Iterator[World]:
    """A world with both servers running."""
    world = World(folder, **policy)
    try:
        yield world.start()
    finally:
        world.close()


class Patient(Remote):
    """Takes no busy machine for a dead line: it asks once what a device would ask again."""

    def ask(self, *arguments: Any, timeout: httpx.Timeout | None = None, **options: Any) -> Answer:
        usual = timeout is None or timeout is _AT_ONCE
        return super().ask(*arguments, timeout=httpx.Timeout(DEADLINE_S) if usual else timeout, **options)


class ProtocolDevice:
    """The protocol's device with the real HTTP client; what it has to say is made by hand.

    Args:
        world: where it lives.
        token: its way in.
        private: its key; a fresh one by default.
    """

    def __init__(self, world: World, token: Token, private: Ed25519PrivateKey | None = None) -> None:
        self.world, self.token = world, token
        self.private = private or Ed25519PrivateKey.generate()
        dev = device_id(token.trust.fid, raw_public_key(self.private))
        self.device = Device(self.private, dev, token.trust)

        def remote(title: str, url: str) -> Remote:
            made = Patient(title, url, key_id=dev.hex(), private=self.private, clock=world.clock)
            world._closing.append(made.close)
            return made

        self.main = MainClient(remote("Main", token.main_url), token.trust)
        self.aggregator = AggregatorClient(remote("The aggregator", token.aggregator_url))

    @property
    def id(self) -> bytes:
        return self.device.device

    def enrolment(self) -> bytes:
        fid = self.device.trust.fid
        return identities.enrol(fid, self.token.certificate, self.token.private, self.private)

    def enrol(self) -> None:
        for server in (self.main, self.aggregator):
            assert server.enrol(self.enrolment(), self.private).device == self.id

    def offer(self) -> Offer:
        return self.main.offer()

    def commit(self, contribution: Contribution | None = None, seed: int = 0) -> Sent:
        """Check the open round as a device does and build its report; nothing is sent."""
        offer = self.offer()
        assert offer.manifest is not None, "no round is open for this device"
        signed, plan = SignedManifest.decode(offer.manifest), Plan.decode(offer.plan)
        plan = plan.of_kind(Kind(Manifest.decode(signed.payload).proposal.kind))
        floors = Floors(5, True, 500, 34, allowed_backbones(), frozenset({"softmax"}))
        now = int(self.world.clock())
        manifest = self.device.check_manifest(signed, plan, offer.model, offer.invitation, floors, History({}, 0), now)
        return self._build(signed, manifest, contribution or contribution_of(plan, self.id[0] % 7, seed), seed)

    def commit_to(self, signed: SignedManifest, contribution: Contribution | None = None, seed: int = 0) -> Sent:
        """Build a report without asking whether it may be: what a device with other software could do."""
        manifest = Manifest.decode(signed.payload)
        plan = self.world.task.plan.of_kind(Kind(manifest.proposal.kind))
        return self._build(signed, manifest, contribution or contribution_of(plan, 1, seed), seed)

    def _build(self, signed: SignedManifest, manifest: Manifest, said: Contribution, seed: int) -> Sent:
        now, stream = int(self.world.clock()), bytes([seed]) * 16 + self.id
        plain = ring.centre(encode(manifest.proposal.layout, said, Keystream(stream)))
        record, y = self.device.commit(signed, manifest, said, Keystream(stream), now)
        return Sent(record, y, plain)

    def upload(self, sent: Sent, y: bytes | None = None) -> bytes:
        """Send a report; the receipt."""
        data = io.BytesIO(sent.y.astype("<u4").tobytes() if y is None else y)
        words = sent.record.length if y is None else len(y) // 4
        return self.aggregator.upload(sent.record.mh, self.id, sent.envelope, data, words)

    def report(self, sent: Sent | None = None) -> Sent:
        """Step 3 as a device does it: upload, take the receipt, show it to main."""
        sent = sent or self.commit()
        record = self.device.take_receipt(sent.record, self.upload(sent))
        self.main.beacon(record.mh, record.receipt)
        return Sent(self.device.confirm(record), sent.y, sent.plain)

    def outcome(self, mh: bytes) -> OutcomeForDevice:
        return self.main.outcome(mh)


def contribution_of(plan: Plan, number: int, seed: int = 0) -> Contribution:
    """What a device has to say: its own update, counts and supporters."""
    classes = len(plan.classes)
    wave = np.sin(np.arange(plan.parameters, dtype=np.float64) * (number + 1 + seed)) / 100
    return Contribution(
        examples=10 * (number + 1),
        update=wave if plan.kind == Kind.TRAIN else None,
        received=Measured(np.eye(classes, dtype=np.int64) * (number + 3), 1.5),
        local=Measured(np.full((classes, classes), number, np.int64), 0.25),
        supporters=np.ones(classes, np.bool_),
    )


def draw(folder: Path, seed: int, parts: Mapping[str, int] | None = None, classes: Sequence[str] = CLASSES) -> None:
    """A few small pictures of each class."""
    chance = Chance("services-world", seed)
    for part, count in (parts or {"train": 4, "valid": 1, "test": 2}).items():
        for name in classes:
            place = folder / part / name
            place.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                picture = Image.fromarray(shapes.draw(name, chance))
                picture.resize((PICTURE_SIZE, PICTURE_SIZE)).save(place / f"{index}.png")
