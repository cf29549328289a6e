"""Scenarios on a backbone that devices get from main: heads that are solved from sums, and members that come and go."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, ClassVar

import httpx

from fanlight.cli.federation import REVOCATIONS_PATH
from fanlight.cli.task_options import with_backbone
from fanlight.learning.datasets import shapes
from fanlight.services.federation import keep_backbone, revoke
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Task
from tests.crash import own_backbones
from tests.crash.federation import SERVERS, Federation
from tests.crash.role import Role, until
from tests.services_world import draw


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

    def let_in(self, data: Path) -> Role:
        """It says that its pictures have changed when it asks next: every half second."""
        role = super().let_in(data)
        settings = self.folder / "asks-often.toml"
        settings.write_text("poll_wait_s = 0.5\n")
        role.words += ["--config", str(settings)]
        return role

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
            status = self.ask("main", "/api/v1/status") or {}
            if status and status["model"]["version"] > before:
                return True  # asked for once more, it would be done twice, and be taken for the other kind
            round_ = status.get("round") or {}
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
