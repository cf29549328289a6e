"""Scenarios in which rounds follow one another, and come to nothing on the way: abandoned, or failed by a cheat."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from fanlight.protocol.device import Device
from fanlight.protocol.device_round import Record
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.plan import Kind
from tests.crash.federation import Federation
from tests.crash.launcher import Life, launch
from tests.crash.role import until
from tests.garbage import as_garbage

CHEAT: Final = "cheat"
"""A device in whose watched folder there is such a file reports garbage."""


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
