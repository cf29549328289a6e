"""What a federation lives through while its processes die: rounds of every kind, and members that come and go.

A scenario is a federation with a task and a policy of its own, and a ``cycle`` that can be repeated without end: what
has died is started again, the owners press on until all of it is done, and then nothing is under way.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx
from numpy.typing import NDArray

from fanlight.cli.federation import REVOCATIONS_PATH
from fanlight.cli.task_options import with_backbone
from fanlight.learning.datasets import shapes
from fanlight.protocol.device import Device
from fanlight.protocol.device_round import Record
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.plan import Kind
from fanlight.services.federation import keep_backbone, revoke
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Task
from tests.crash import own_backbones
from tests.crash.federation import SERVERS, Federation
from tests.crash.launcher import Life, launch
from tests.crash.role import Role, until
from tests.garbage import as_garbage
from tests.large_reports import MANY_CLASSES
from tests.services_world import draw

CHEAT: Final = "cheat"
"""A device in whose watched folder there is such a file reports garbage."""


class LargeReports(Federation):
    """By hand, with reports of 1.6 MB: they come in parts, and go on where they were cut."""

    def task_of(self, policy: Policy, **fields: Any) -> Task:
        """Of 200 classes, most of which nobody has pictures of, and of 2,024 features."""
        classes = (*shapes.CLASSES, *MANY_CLASSES)[: len(MANY_CLASSES)]
        return super().task_of(policy, classes=classes, backbone="efficientnet-lite0-levels", **fields)


class _ByItself(Federation):
    """Rounds follow one another until as many have been as the policy says; ``run`` lets more be."""

    def __init__(self, folder: Path, pictures: tuple[Path, ...], **policy: Any) -> None:
        super().__init__(folder, pictures, **{"by_itself": True, "rounds": 1, **policy})

    def is_at_rest(self) -> bool:
        """Have all rounds been, does every device know how they ended, and has it the newest version?"""
        self.revive()
        at = [self.ask(name, "/api/v1/status") for name in self.roles]
        told = [self.ask(name, "/api/v1/learning") for name in self.devices]
        if not all(at) or not all(told) or not at[0]["finished"]:
            return False
        over = all(status["round"] and status["round"]["state"] not in ("collecting", "closed") for status in at[:2])
        fetched = all(status["model"] == at[0]["model"] for status in at[2:])
        return over and fetched and all(line["result"] for answer in told for line in answer["rounds"])

    def run(self, rounds: int, is_done: Callable[[], bool], what: str) -> None:
        """Let so many more rounds be, and one more whenever they have been in vain, until it is done."""
        wanted = rounds

        def done() -> bool:
            nonlocal wanted
            self.revive()
            if is_done():
                return True
            policy, status = self.ask("main", "/api/v1/policy"), self.ask("main", "/api/v1/status")
            if policy and status and status["finished"]:
                self.tell("main", "PUT", "/api/v1/policy", {"rounds": policy["rounds"] + wanted})
                wanted = 1
            return False

        until(done, what, self.summary)

    def newest_round(self) -> int:
        """The number of the newest round."""

        def found() -> int | None:
            self.revive()
            status = self.ask("main", "/api/v1/status")
            return int(status["round"]["round"]) if status else None

        return until(found, "the main server says its newest round", self.summary)

    def results_since(self, number: int) -> list[str]:
        """How rounds after this one that taught have ended; nothing while the main server does not answer."""
        answer = self.ask("main", "/api/v1/rounds")
        return [line["state"] for line in answer["rounds"] if line["round"] > number] if answer else []


class ByThemselves(_ByItself):
    """A round with a report in it is abandoned, and the next one teaches."""

    def cycle(self) -> None:
        """One device is away, so that the round cannot end before it is abandoned."""
        before, version = self.newest_round(), until(self._version_of_the_living, "main says its version", self.summary)
        lonely, late = self.devices[0], self.devices[-1]
        self.roles[late].kill()
        self.away.add(late)

        def abandoned() -> bool:
            if "abandoned" in self.results_since(before):
                return True
            told = self.ask(lonely, "/api/v1/status")
            if told and told["round"] and told["round"]["round"] > before and told["round"]["report"] == "confirmed":
                self.tell("main", "POST", f"/api/v1/rounds/{told['round']['round']}/abandon")
            return False

        self.run(2, abandoned, "a round is abandoned")
        self.away.discard(late)
        self.roles[late].start()
        self.run(1, lambda: (self.version() or 0) > version, "the next round teaches")
        self.rest()


class Shards(_ByItself):
    """A cheat fails a round; the next one leaves out its shard; without it, rounds in shards are whole again."""

    def __init__(self, folder: Path, pictures: tuple[Path, ...]) -> None:
        super().__init__(folder, pictures)
        self.roles[self.devices[-1]].program = launch_tempted

    def cycle(self) -> None:
        """Four rounds that teach, of which one fails."""
        before, version = self.newest_round(), until(self._version_of_the_living, "main says its version", self.summary)
        cheats = self.roles[self.devices[-1]].folder / CHEAT
        cheats.touch()
        failed = lambda: "failed" in self.results_since(before) and (self.version() or 0) > version  # noqa: E731
        self.run(2, failed, "a round has failed, and the next one left a shard out")
        cheats.unlink()
        self.rest()
        version = until(self._version_of_the_living, "main says its version", self.summary)
        self.run(1, lambda: (self.version() or 0) > version, "a round in shards left none out")
        self.rest()


def launch_tempted(life: Life, commands: Connection) -> None:
    """Become a device that reports garbage in rounds that teach while ``CHEAT`` is there."""
    commit = Device.commit

    def committed(
        device: Device, signed: SignedManifest, manifest: Manifest, *told: Any
    ) -> tuple[Record, NDArray[Any]]:
        record, y = commit(device, signed, manifest, *told)
        cheats = (life.folder / CHEAT).exists() and manifest.proposal.kind == Kind.TRAIN.value
        return as_garbage(device.private, record) if cheats else (record, y)

    Device.commit = committed  # type: ignore[assignment, method-assign]
    launch(life, commands)


class _OnOwnBackbone(Federation):
    """Main hands out a backbone, which the devices' owners allow."""

    def __init__(self, folder: Path, pictures: tuple[Path, ...]) -> None:
        super().__init__(folder, pictures)
        keep_backbone(self.home, *self._file)

    def task_of(self, policy: Policy, **fields: Any) -> Task:
        """With the backbone."""
        task, self._file = with_backbone(super().task_of(policy, **fields), self.backbone())
        return task

    def backbone(self) -> Path:
        """Its file."""
        raise NotImplementedError

    def let_in(self, data: Path) -> Role:
        """Its owner allows the backbone."""
        role = super().let_in(data)
        assert self.task.own_backbone is not None
        role.words += ["--allow-backbone", f"{self.task.backbone}={self.task.own_backbone.sha256}"]
        return role


class Statistics(_OnOwnBackbone):
    """A head is solved anew from sums over all pictures, and once more when pictures have changed."""

    teaches: ClassVar[tuple[str, ...]] = ("statistics", "changes")

    def __init__(self, folder: Path, pictures: tuple[Path, ...]) -> None:
        own = tuple(folder / f"pictures-{number}" for number, _ in enumerate(pictures))
        for source, copy in zip(pictures, own, strict=True):
            shutil.copytree(source, copy)
        super().__init__(folder, own)
        self._pictures, self._drawn = own, len(own)

    def backbone(self) -> Path:
        """With few features: what 1,280 take to solve would be all of the time."""
        return own_backbones.small(self.folder, picture_size=32)

    def task_of(self, policy: Policy, **fields: Any) -> Task:
        """With a head that is solved."""
        return super().task_of(policy, head="analytic", **fields)

    def cycle(self) -> None:
        """Two rounds that teach; after each of them, one that would train opens, and makes room for the next."""
        self._solve("statistics", "/api/v1/statistics/anew")
        for folder in self._pictures:
            self._drawn += 1
            draw(folder, self._drawn, {"train": 2}, shapes.CLASSES)
        self._solve("changes", "/api/v1/statistics/changes")

    def _solve(self, kind: str, route: str) -> None:
        """One round of this kind, asked for until there was one: of changes, main may not be sure who has some."""
        before = until(self._version_of_the_living, "the main server says its version", self.summary)

        def solved() -> bool:
            if self._has_learned(before):
                return True
            round_ = (self.ask("main", "/api/v1/status") or {}).get("round") or {}
            if round_.get("state") == "open" and round_["kind"] != kind:
                for name in self.devices if kind == "changes" else ():  # a device looks at its pictures when it trains
                    self.press(name, "/modeltrain")
                self.tell("main", "POST", route)
            return False

        until(solved, f"a round of {kind} is over", self.summary)
        self.rest()


class LifeOfAMember(_OnOwnBackbone):
    """On a backbone of the operator's own: a key is changed, a version rolled back, one leaves, one is put out."""

    def __init__(self, folder: Path, pictures: tuple[Path, ...]) -> None:
        super().__init__(folder, pictures)
        self._pictures = pictures

    def backbone(self) -> Path:
        """A large one."""
        return own_backbones.large(self.folder)

    def named(self, victim: str) -> str:
        """``leaver`` is whoever leaves next."""
        return self.devices[1] if victim == "leaver" else victim

    def cycle(self) -> None:
        """The first device stays for ever; of the others one leaves and one is revoked, and two come for them."""
        _, leaver, outcast = self.devices
        self._until_told(self.devices[0], "POST", "/api/v1/key")
        before = until(self._version_of_the_living, "the main server says its version", self.summary)
        self.learn()

        def rolled_back() -> bool:
            if self._version_of_the_living() == before:
                return True
            self.tell("main", "POST", f"/api/v1/models/{before}/current", {"abandon": True})
            return False

        until(rolled_back, "an older version is current", self.summary)
        self.rest()
        until(lambda: self._has_left(leaver), f"{leaver} has left", self.summary)
        self._revoke(outcast)
        for name, data in ((leaver, self._pictures[1]), (outcast, self._pictures[2])):
            self.roles[name].kill()
            self.gone[name] = self.roles.pop(name)
            self.let_in(data).start()
        self.rest()

    def _until_told(self, name: str, method: str, path: str) -> None:
        def told() -> bool:
            self.revive()
            return self.tell(name, method, path)

        until(told, f"{name} has done {path}", self.summary)

    def _has_left(self, name: str) -> bool:
        self.revive()
        leaving = (self.ask(name, "/api/v1/status") or {}).get("leaving")
        if leaving and all(server["knows"] for server in leaving.values()):
            return True
        self.tell(name, "PUT", "/api/v1/left", {"on": True})
        return False

    def _revoke(self, name: str) -> None:
        device = (self.roles[name].state / "device.id").read_text().split()[1]
        signed = revoke(self.home, device, int(time.time()))

        def knows(server: str) -> bool:
            self.revive()
            try:
                url = self.roles[server].url + REVOCATIONS_PATH
                headers = {"Content-Type": "application/cbor"}
                return httpx.post(url, content=signed.body, headers=headers, trust_env=False).is_success
            except httpx.HTTPError:
                return False

        for server in SERVERS:
            until(lambda server=server: knows(server), f"{server} has revoked {name}", self.summary)  # type: ignore[misc]


@dataclass(frozen=True)
class Scenario:
    """How a federation is made that lives through it, of how many devices, and who may die in it.

    Attributes:
        name: of files and tests.
        make: from an empty folder, and a folder of pictures for each device.
        devices: how many there are at first.
        again: parts of labels: what they name does here what it does in no scenario before.
        later: victims of a cycle; devices that do the same are tried once. In a first start one of each kind dies.
    """

    name: str
    make: Callable[[Path, tuple[Path, ...]], Federation]
    devices: int = 2
    again: tuple[str, ...] = ()
    later: tuple[str, ...] = (*SERVERS, "device-1")


FIRST: Final = (*SERVERS, "device-1")
BY_HAND: Final = Scenario("by-hand", Federation)
_SUMS: Final = ("Rounds.release", "Rounds.publish", "DeviceStore.commit", "DeviceStore.finish")
_IN_SHARDS: Final = ("Rounds.close", "Rounds.judge", "Rounds.release", "reports/#.sum")
SCENARIOS: Final = (
    BY_HAND,
    Scenario("large-reports", LargeReports),
    Scenario("by-themselves", ByThemselves, again=("Rounds.abandon", "Rounds.take_outcome", "DeviceStore.finish")),
    Scenario("shards", Shards, devices=4, again=_IN_SHARDS),
    Scenario("statistics", Statistics, again=_SUMS),
    Scenario("life-of-a-member", LifeOfAMember, devices=3, later=(*SERVERS, "device-1", "leaver")),
)
