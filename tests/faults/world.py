"""A federation of mortal processes, to which operations happen; in the end everything heals, and all rounds end."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fanlight.core.randomness import Keystream
from fanlight.errors import RemoteError, Unreachable
from fanlight.protocol.exchange import PREFIX
from fanlight.services.federation import init_federation, issue_token_file, revoke
from fanlight.services.server.chained_log import ChainedLog
from fanlight.storage.database import Database
from tests.faults.lines import Net
from tests.faults.processes import Process
from tests.faults.request import Request
from tests.faults.roles import MAIN, Aggregator, Device, Main, Surroundings
from tests.faults.routes import AGGREGATOR
from tests.faults.scenarios import DEVICES, WINDOW_S, Scenario
from tests.faults.stores import Died, Fate, Kind, Store
from tests.faults.witness import Witness

NOW: Final = 1_800_000_000
TURNS_TO_SETTLE: Final = 12
NAMES: Final = tuple(f"device-{number}" for number in range(DEVICES))
ROLES: Final = (MAIN, AGGREGATOR, *NAMES)


@dataclass(frozen=True)
class Template:
    """A federation before its first moment: copied for each world.

    Attributes:
        scenario: which.
        folder: the state folders of all roles.
        contents: of their databases in memory.
    """

    scenario: Scenario
    folder: Path
    contents: dict[str, bytes]

    @classmethod
    def make(cls, scenario: Scenario, folder: Path, kind: Kind) -> Template:
        """Keys, tokens, tables and a first model; takes half a second."""
        init_federation(
            folder, main_url="http://main", aggregator_url="http://aggregator", task_json=scenario.task.to_json()
        )
        for name in NAMES:
            issue_token_file(folder, name, NOW + 10_000_000)
        empty = {name: Store(kind, Fate()) for name in ROLES}
        with World(scenario, folder, empty, bytes(32)):
            pass
        return cls(scenario, folder, {name: store.content for name, store in empty.items()})

    def world(self, folder: Path, kind: Kind, seed: bytes) -> World:
        """A fresh one in ``folder``; what it draws follows from ``seed`` (32 bytes)."""
        shutil.copytree(self.folder, folder)
        stores = {name: Store(kind, Fate(), self.contents[name]) for name in ROLES}
        return World(self.scenario, folder, stores, seed)


@dataclass
class World:
    """One case.

    Args:
        scenario: which federation it is.
        folder: of its state.
        stores: of each role.
        seed: of all randomness, 32 bytes.

    Attributes:
        gone: devices that have left, or were revoked.
    """

    scenario: Scenario
    folder: Path
    stores: dict[str, Store]
    seed: bytes
    now: float = NOW
    witness: Witness = field(default_factory=Witness)
    gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._revocations: list[bytes] = []
        self.net = Net(self._deliver, self.witness.hear, self.witness.hear_refusal)
        around = Surroundings(self.folder, self.net, lambda: self.now, Keystream(self.seed).bytes)
        self.main = Process(self.stores[MAIN], partial(Main, around))
        self.aggregator = Process(self.stores[AGGREGATOR], partial(Aggregator, around))
        self.devices = {name: Process(self.stores[name], partial(Device, around, name=name)) for name in NAMES}
        self._ids = {name: process.life.id.hex() for name, process in self.devices.items()}

    def __enter__(self) -> Self:
        self._stack.enter_context(self.witness.watching())
        self._stack.enter_context(self.scenario.sizes())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for process in self.processes.values():
            process.stop()

    @property
    def processes(self) -> dict[str, Process[Main] | Process[Aggregator] | Process[Device]]:
        """All of them, by name."""
        return {MAIN: self.main, AGGREGATOR: self.aggregator, **self.devices}

    def database(self, role: str) -> Database:
        """The database of a role's present life."""
        return self.processes[role].life.database

    def cheat(self, name: str) -> None:
        """The next report of a device is garbage."""
        self.witness.cheats.add(bytes.fromhex(self._ids[name]))

    def leave(self, name: str) -> None:
        """A device leaves, if it is up."""
        if self.devices[name].is_up:
            self.gone.add(name)
            self.devices[name].act(Device.leave)

    def revoke(self, name: str, server: str) -> None:
        """The operator revokes a device's token, and tells one server."""
        self.gone.add(name)
        self._revocations.append(revoke(self.folder, name, int(self.now)).body)
        self._tell_revoked(server)

    def _tell_revoked(self, server: str) -> None:
        for message in self._revocations:
            with suppress(RemoteError):
                self.net.carry(Request("operator", server, "POST", f"{PREFIX}/revocations", message))

    def log(self, server: str) -> ChainedLog:
        """The log of a server."""
        return (self.main if server == MAIN else self.aggregator).life.service.log

    def end_of_line(self, name: str) -> str:
        """What a role is called on the lines."""
        return self._ids.get(name, name)

    def settle(self) -> None:
        """Everything works again, no new round opens, and those under way end: by themselves or with their window."""
        self.net.calm()
        for process in self.processes.values():
            process.fate.spare()
            if not process.is_up:
                process.restart()
        self._tell_revoked(MAIN)
        self._tell_revoked(AGGREGATOR)
        self.main.act(lambda main: main.service.change_policy(paused=True))
        for turn in range(TURNS_TO_SETTLE):
            if turn == TURNS_TO_SETTLE // 2:
                self.now += WINDOW_S + 1
            self.everybody()
            if self._is_at_rest():
                return

    def _is_at_rest(self) -> bool:
        """Is there nothing left to do or to hear? That it never comes to that, the invariants find."""
        line, stored = self.main.life.service.latest(), self.aggregator.life.service.rounds.latest()
        if line is None:
            return True
        staying = (device for name, device in self.devices.items() if name not in self.gone)
        heard = not any(device.life.store.unfinished() for device in staying)
        return line.is_over and stored is not None and stored.record.mh == line.mh and stored.told_main and heard

    def everybody(self) -> None:
        """A turn of each role."""
        self.main.act(Main.conduct)
        self.aggregator.act(Aggregator.follow)
        for device in self.devices.values():
            device.act(Device.turn)

    def _deliver(self, request: Request) -> bytes:
        server: Process[Main] | Process[Aggregator] = self.main if request.server == MAIN else self.aggregator
        try:
            reply, afterwards = server.life.routes(request)
        except Died as death:
            raise Unreachable(f"{request.server} does not answer.") from death
        with suppress(Died):
            afterwards()
        return reply
