"""A federation of real processes that may die at any moment, and an owner who presses the buttons until it is done.

Each role runs by its normal command in a process of its own, under ``launcher``.  The owner sees only what the owners'
APIs say; whatever is dead is started again by the same command, after the power cut if there is one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import httpx

from fanlight.learning.datasets import shapes
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.http.sessions import API_TOKEN_FILE
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Task, Training
from tests.crash.disk import cut_power
from tests.crash.points import Point
from tests.crash.role import HOST, TICK_S, Role, until
from tests.e2e.terminals import free_ports

Power = Literal["on", "names lost", "contents lost"]
"""What dies: the process alone, or the machine (see ``disk``)."""

ROLES: Final = ("main", "aggregator", "device-1", "device-2")
SERVERS: Final = ROLES[:2]
DEVICES: Final = ROLES[2:]
_PATIENCE_S: Final = 3.0
_TOKENS_HOLD_S: Final = 400 * 86_400


class Federation:
    """Main server, aggregator and devices with pictures of shapes; every step is by hand unless the policy says else.

    Args:
        folder: an empty folder.
        pictures: a folder for each device.
        servers_at: host and port at which others find each server, if those are not its own.
        policy: changes to the task's policy.

    Attributes:
        away: who is not started again: dead on purpose.
        gone: devices that are members no more; they are in ``roles`` no more either.
    """

    teaches: ClassVar[tuple[str, ...]] = ("train",)
    """The kinds of rounds that devices report in by hand."""

    def __init__(
        self,
        folder: Path,
        pictures: tuple[Path, ...],
        servers_at: Mapping[str, tuple[str, int]] | None = None,
        **policy: Any,
    ) -> None:
        self.folder, self.home = folder, folder / "federation"
        self._free = free_ports(len(SERVERS) + len(pictures))
        ports = {name: self._free.pop() for name in SERVERS}
        found = servers_at or {name: (HOST, ports[name]) for name in SERVERS}
        chosen = Policy(**{"demo": True, "k_min": 2, "r_max_percent": 34, **policy})
        self.task = self.task_of(chosen)
        init_federation(
            self.home,
            main_url="http://{}:{}".format(*found["main"]),
            aggregator_url="http://{}:{}".format(*found["aggregator"]),
            task_json=self.task.to_json(),
        )
        self.roles: dict[str, Role] = {}
        for name in SERVERS:
            words = ["server" if name == "main" else name, "--hosts", found[name][0]]
            self.roles[name] = Role(name, self.home / name, folder / f"watch-{name}", ports[name], words)
        self.away: set[str] = set()
        self.gone: dict[str, Role] = {}
        for data in pictures:
            self.let_in(data)
        self.power: Power = "on"
        self.deaths: list[str] = []
        self._refused: dict[str, str] = {}
        self._client = httpx.Client(trust_env=False, timeout=30)

    def task_of(self, policy: Policy, **fields: Any) -> Task:
        """The task, with ``fields`` that are others than usual."""
        usual = {"classes": shapes.CLASSES, "picture_size": 32, "training": Training(epochs=2), "policy": policy}
        return Task(**{**usual, **fields})

    def let_in(self, data: Path) -> Role:
        """One more device with a token of its own; not started."""
        name = f"device-{len(self.devices) + len(self.gone) + 1}"
        token = issue_token_file(self.home, name, int(time.time()) + _TOKENS_HOLD_S)
        words = ["device", "--token", str(token), "--data", str(data), "--accept-demo"]
        watched, port = self.folder / f"watch-{name}", (self._free or free_ports(1)).pop()
        self.roles[name] = Role(name, self.folder / name, watched, port, words)
        return self.roles[name]

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of those that are members, or are to become it."""
        return tuple(name for name in self.roles if name not in SERVERS)

    def named(self, victim: str) -> str:
        """Whose name is meant: in some scenarios, roles pass from one device to another."""
        return victim

    def start(self, victim: str = "", point: Point | None = None) -> None:
        """Start all for the first time, and wait until the first round is open; ``victim`` dies at ``point``."""
        for role in self.roles.values():
            role.start(point if role.name == victim else None)
        self.rest()

    def close(self) -> None:
        """End all."""
        for role in (*self.roles.values(), *self.gone.values()):
            role.kill()
        self._client.close()

    # -- what the owners ask

    def ask(self, name: str, path: str) -> Any:
        """What an owner's API says; None while the role does not answer."""
        answer = self._request(name, "GET", path)
        return answer.json() if answer is not None and answer.is_success else None

    def tell(self, name: str, method: str, path: str, content: Mapping[str, Any] | None = None) -> bool:
        """Have an owner's API do something; False if it is refused now, or the role is gone."""
        answer = self._request(name, method, path, content)
        if answer is None or not answer.is_success:
            self._refused[name] = f"{path}: {'no answer' if answer is None else answer.text}"
        return answer is not None and answer.is_success

    def refused(self, name: str) -> str:
        """What ``tell`` or ``press`` was refused with last."""
        return self._refused.get(name, "")

    def press(self, name: str, path: str, patience_s: float = _PATIENCE_S) -> dict[str, Any] | None:
        """Perform a step and wait for its end, but not for ever: others may have to be started again first.

        The job; None if the step is refused now or the role is gone.
        """
        answer = self._request(name, "POST", path)
        if answer is None or answer.status_code != httpx.codes.ACCEPTED:
            self._refused[name] = f"{path}: {'no answer' if answer is None else answer.text}"
            return None
        url, patience = answer.json()["status_url"], time.monotonic() + patience_s
        while (job := self.ask(name, url)) is not None and job["state"] in ("queued", "running"):
            if time.monotonic() > patience or not all(role.is_running for role in self.roles.values()):
                break
            time.sleep(TICK_S)
        return dict(job) if job else None

    def _request(
        self, name: str, method: str, path: str, content: Mapping[str, Any] | None = None
    ) -> httpx.Response | None:
        role = self.roles[name]
        try:
            token = (role.state / API_TOKEN_FILE).read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            return self._client.request(method, role.url + path, headers=headers, json=content)
        except (httpx.HTTPError, FileNotFoundError):
            return None

    # -- one whole round

    def cycle(self) -> None:
        """A training round and a measuring round, every step by hand; who dies meanwhile is started again."""
        self.learn()
        until(self._has_measured, "what was learned is measured", self.summary)
        self.rest()

    def learn(self) -> None:
        """A round that teaches, every step by hand."""
        before = until(self._version_of_the_living, "the main server says its version", self.summary)
        until(lambda: self._has_learned(before), "a round is over", self.summary)

    def rest(self) -> None:
        """Wait until nothing is under way."""
        until(self.is_at_rest, "nothing is under way", self.summary)

    def _version_of_the_living(self) -> int | None:
        self.revive()  # the main server may have died since it was started
        return self.version()

    def _has_learned(self, before: int) -> bool:
        version = self._version_of_the_living()
        if version is None:
            return False  # or what is open by now would be taken for the round that is meant
        if version > before:
            return True
        for name in self.devices:
            self._report(name)
        self._finish()
        return False

    def _has_measured(self) -> bool:
        version = self._version_of_the_living()
        return version is not None and (self.is_measured(version) or self._measure())

    def _report(self, name: str) -> None:
        for step in range(3):
            status = self.ask(name, "/api/v1/status")
            if not status or not status["round"] or status["round"]["kind"] not in self.teaches:
                return
            if status["round"]["report"] not in (None, "committed"):
                return
            state = status["preparation"]
            route = {"trained": "/sendstatus", "announced": "/sendmodel"}.get(state, "/modeltrain")
            if (step and state == "idle") or self.press(name, route) is None:
                return

    def _finish(self) -> None:
        round_ = (self.ask("aggregator", "/api/v1/status") or {}).get("round") or {}
        if round_.get("kind") in self.teaches:
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
        """Is a round open at both servers, all devices know it, and nothing older is under way?"""
        self.revive()
        at = [self.ask(name, "/api/v1/status") for name in self.roles]
        if not all(at) or at[0]["round"] is None or at[1]["round"] is None:
            return False
        number = at[0]["round"]["round"]
        opened = (at[0]["round"]["state"], at[1]["round"]["state"], at[1]["round"]["round"])
        same = all(status["round"] and status["round"]["round"] == number for status in at[2:])
        fetched = all(status["model"] == at[0]["model"] for status in at[2:])
        told = [self.ask(name, "/api/v1/learning") for name in self.devices]
        ended = all(answer and all(line["result"] for line in answer["rounds"]) for answer in told)
        return same and fetched and ended and opened == ("open", "collecting", number)

    # -- deaths

    def arm(self, victim: str, point: Point) -> None:
        """Let a role die at a point; if it dies at the one before only now, by a poll, it is started again first."""

        def armed() -> bool:
            self.revive()
            return self.roles[self.named(victim)].command("arm", point)

        until(armed, f"{victim} is armed", self.summary)

    def revive(self) -> None:
        """Start again who has died at the armed point, after the power cut if there is to be one."""
        for role in self.roles.values():
            if role.is_running or role.name in self.away:
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
        for name in self.roles:
            status = self.ask(name, "/api/v1/status") or {}
            lines.append(f"{name}: {json.dumps(status.get('round'))} {json.dumps(status.get('problem'))}")
            lines.append(f"{name} refused last: {self._refused.get(name, 'nothing')}")
        return "\n".join(lines)


@contextmanager
def running(folder: Path, pictures: tuple[Path, ...], **policy: Any) -> Iterator[Federation]:
    """A federation whose first round is open everywhere."""
    federation = Federation(folder, pictures, **policy)
    try:
        federation.start()
        yield federation
    finally:
        federation.close()
