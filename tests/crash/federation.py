"""A federation of real processes that may die at any moment, and an owner who presses the buttons until it is done.

Each role runs by its normal command in a process of its own, under ``launcher``.  The owner sees only what the owners'
APIs say; whatever is dead is started again by the same command, after the power cut if there is one.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import httpx

from fanlight.learning.datasets import shapes
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.http.sessions import API_TOKEN_FILE
from fanlight.services.main_server.task import Policy, Task, Training
from tests.crash.disk import cut_power
from tests.crash.launcher import Life, launch
from tests.crash.points import Point
from tests.e2e.terminals import free_ports

T = TypeVar("T")
Power = Literal["on", "names lost", "contents lost"]
"""What dies: the process alone, or the machine (see ``disk``)."""

ROLES: Final = ("main", "aggregator", "device-1", "device-2")
DEVICES: Final = ROLES[2:]
HOST: Final = "127.0.0.1"
PROCESSES: Final = multiprocessing.get_context("forkserver")
"""Each role's process is forked from one that has imported everything: a restart takes a fraction of a second."""

PROCESSES.set_forkserver_preload(
    ["tests.crash.clock", "tests.crash.launcher", "fanlight.apps", "fanlight.consoles.device", "uvicorn"]
)
LIMIT_S: Final = 300.0
"""Long enough for a machine that does much else; nothing takes that long unless it is broken."""
_TICK_S: Final = 0.02
_PATIENCE_S: Final = 3.0
_TOKENS_HOLD_S: Final = 400 * 86_400


@dataclass
class Role:
    """One role: how it is started, and what it has said."""

    name: str
    state: Path
    folder: Path
    port: int
    words: list[str]
    process: ForkServerProcess | None = None
    heard: list[dict[str, Any]] = field(default_factory=list)
    shift_s: float = 0.0
    _read: int = 0
    _commands: Connection | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def start(self, armed: Point | None = None) -> None:
        """Start it by its normal command; ``armed``: die at this point of the start."""
        self.kill()
        self.folder.mkdir(exist_ok=True)
        words = [*self.words, "--state", str(self.state), "--port", str(self.port), "--host", HOST]
        self._commands, theirs = PROCESSES.Pipe()
        life = Life(self.folder, self.state, words, armed, self.shift_s)
        self.process = PROCESSES.Process(target=launch, args=(life, theirs), name=self.name)
        self.process.start()
        theirs.close()

    def command(self, *words: object) -> None:
        """Tell the process's launcher something, and wait until it has heard."""
        before = len(self.events())
        assert self._commands is not None
        self._commands.send(words)
        until(lambda: len(self.events()) > before, f"{self.name} hears {words}")

    def stop(self) -> None:
        """Ask it to end, as a supervisor does; when it has tidied up, uvicorn lets the signal have its way."""
        assert self.process is not None
        self.process.terminate()
        self.process.join(LIMIT_S)
        assert self.process.exitcode == -signal.SIGTERM, self.output()
        self.kill()

    def kill(self) -> None:
        """End it, whatever it is doing, if it has not ended."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process.close()
            self.process = None
        if self._commands is not None:
            self._commands.close()
            self._commands = None

    def events(self) -> list[dict[str, Any]]:
        """All that it has said so far, over all its lives."""
        path = self.folder / "events.jsonl"
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read)
                lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._read += len(whole)
            self.heard += [json.loads(line) for line in whole.splitlines()]
        return self.heard

    def said(self, kind: str) -> list[dict[str, Any]]:
        """What it has said of one kind."""
        return [event for event in self.events() if event["kind"] == kind]

    def output(self) -> str:
        """The end of its log."""
        return "\n".join((self.folder / "output.txt").read_text(errors="replace").splitlines()[-30:])


def until(found: Callable[[], T | None], what: str, more: Callable[[], str] = str, limit_s: float = LIMIT_S) -> T:
    """Ask again until the answer is neither None nor False; else fail, and say ``more``."""
    deadline = time.monotonic() + limit_s
    while True:
        answer = found()
        if answer is not None and answer is not False:
            return answer
        assert time.monotonic() < deadline, f"it never happened: {what}\n{more()}"
        time.sleep(_TICK_S)


class Federation:
    """Main server, aggregator and two devices with pictures of shapes; every step is by hand.

    Args:
        folder: an empty folder.
        pictures: of both devices.
        policy: changes to the task's policy.
    """

    def __init__(self, folder: Path, pictures: tuple[Path, ...], **policy: Any) -> None:
        self.home = folder / "federation"
        ports = dict(zip(ROLES, free_ports(len(ROLES)), strict=True))
        chosen = Policy(**{"demo": True, "k_min": 2, "r_max_percent": 34, **policy})
        self.task = Task(classes=shapes.CLASSES, picture_size=32, training=Training(epochs=2), policy=chosen)
        init_federation(
            self.home,
            main_url=f"http://{HOST}:{ports['main']}",
            aggregator_url=f"http://{HOST}:{ports['aggregator']}",
            task_json=self.task.to_json(),
        )
        self.roles: dict[str, Role] = {}
        for name in ROLES[:2]:
            words = ["server" if name == "main" else name]
            self.roles[name] = Role(name, self.home / name, folder / f"watch-{name}", ports[name], words)
        for name, data in zip(DEVICES, pictures, strict=True):
            token = issue_token_file(self.home, name, int(time.time()) + _TOKENS_HOLD_S)
            words = ["device", "--token", str(token), "--data", str(data), "--accept-demo"]
            self.roles[name] = Role(name, folder / name, folder / f"watch-{name}", ports[name], words)
        self.power: Power = "on"
        self.deaths: list[str] = []
        self._client = httpx.Client(trust_env=False, timeout=30)

    def start(self) -> None:
        """Start all."""
        for role in self.roles.values():
            role.start()

    def close(self) -> None:
        """End all."""
        for role in self.roles.values():
            role.kill()
        self._client.close()

    # -- what the owners ask

    def ask(self, name: str, path: str) -> Any:
        """What an owner's API says; None while the role does not answer."""
        answer = self._request(name, "GET", path)
        return answer.json() if answer is not None and answer.is_success else None

    def press(self, name: str, path: str) -> dict[str, Any] | None:
        """Perform a step and wait for its end, but not for ever: others may have to be started again first.

        The job; None if the step is refused now or the role is gone.
        """
        answer = self._request(name, "POST", path)
        if answer is None or answer.status_code != httpx.codes.ACCEPTED:
            return None
        url, patience = answer.json()["status_url"], time.monotonic() + _PATIENCE_S
        while (job := self.ask(name, url)) is not None and job["state"] in ("queued", "running"):
            if time.monotonic() > patience or not all(role.is_running for role in self.roles.values()):
                break
            time.sleep(_TICK_S)
        return dict(job) if job else None

    def _request(self, name: str, method: str, path: str) -> httpx.Response | None:
        role = self.roles[name]
        try:
            token = (role.state / API_TOKEN_FILE).read_text().strip()
            return self._client.request(method, role.url + path, headers={"Authorization": f"Bearer {token}"})
        except (httpx.HTTPError, FileNotFoundError):
            return None

    # -- one whole round

    def cycle(self) -> None:
        """A training round and a measuring round, every step by hand; who dies meanwhile is started again."""
        before = until(self.version, "the main server says its version")
        until(lambda: self._go_on(before), "a round and its measurement are over", self.summary)
        until(self.is_at_rest, "the next round is open everywhere", self.summary)

    def _go_on(self, before: int) -> bool:
        self.revive()
        version = self.version()
        if version is not None and version > before:
            return self.is_measured(version) or self._measure()
        for name in DEVICES:
            self._report(name)
        self._finish()
        return False

    def _report(self, name: str) -> None:
        for step in range(3):
            status = self.ask(name, "/api/v1/status")
            if not status or not status["round"] or status["round"]["kind"] != "train":
                return
            if status["round"]["report"] not in (None, "committed"):
                return
            state = status["preparation"]
            route = {"trained": "/sendstatus", "announced": "/sendmodel"}.get(state, "/modeltrain")
            if (step and state == "idle") or self.press(name, route) is None:
                return

    def _finish(self) -> None:
        round_ = (self.ask("aggregator", "/api/v1/status") or {}).get("round") or {}
        if round_.get("kind") == "train":
            if round_["state"] in ("collecting", "closed"):
                self.press("aggregator", "/aggregate_models")
            if round_["state"] != "finished":
                self.press("aggregator", "/send_model_secagg")
        self.press("main", "/send_model_clients")

    def version(self) -> int | None:
        """The number of the current model; None while main does not answer."""
        status = self.ask("main", "/api/v1/status")
        return int(status["model"]["version"]) if status else None

    def is_measured(self, version: int) -> bool:
        """Are there figures of this model?"""
        models = self.ask("main", "/api/v1/models")
        return bool(models) and models["models"][version]["metrics"] is not None

    def _measure(self) -> bool:
        self.press("main", "/api/v1/measure")
        return False

    def is_at_rest(self) -> bool:
        """Is a training round open at both servers, both devices know it, and nothing older is under way?"""
        self.revive()
        at = [self.ask(name, "/api/v1/status") for name in ROLES]
        if not all(at) or at[0]["round"] is None or at[1]["round"] is None:
            return False
        number = at[0]["round"]["round"]
        opened = (at[0]["round"]["state"], at[1]["round"]["state"], at[1]["round"]["round"])
        same = all(status["round"] and status["round"]["round"] == number for status in at[2:])
        fetched = all(status["model"] == at[0]["model"] for status in at[2:])
        told = [self.ask(name, "/api/v1/learning") for name in DEVICES]
        ended = all(answer and all(line["result"] for line in answer["rounds"]) for answer in told)
        return same and fetched and ended and opened == ("open", "collecting", number)

    # -- deaths

    def arm(self, name: str, point: Point) -> None:
        """Let a role die at a point."""
        self.roles[name].command("arm", point)

    def revive(self) -> None:
        """Start again who has died at the armed point, after the power cut if there is to be one."""
        for role in self.roles.values():
            if role.is_running:
                continue
            last = role.said("killed")
            said = role.events()[-1] if role.events() else {}
            assert said.get("kind") == "killed", f"{role.name} has ended by itself:\n{role.output()}"
            self.deaths.append(last[-1]["label"])
            if self.power != "on":
                cut_power(role.state, role.folder / "disk", names_lost=self.power == "names lost")
            role.start()

    def summary(self) -> str:
        """Where everybody is, for the message of a failure."""
        lines = [f"deaths: {self.deaths[-3:]}, power {self.power}"]
        for name in ROLES:
            status = self.ask(name, "/api/v1/status") or {}
            lines.append(f"{name}: {json.dumps(status.get('round'))} {json.dumps(status.get('problem'))}")
        return "\n".join(lines)


@contextmanager
def running(folder: Path, pictures: tuple[Path, ...], **policy: Any) -> Iterator[Federation]:
    """A federation whose first round is open everywhere."""
    federation = Federation(folder, pictures, **policy)
    try:
        federation.start()
        until(federation.is_at_rest, "the first round is open everywhere", federation.summary)
        yield federation
    finally:
        federation.close()
