"""A federation of real processes for the camera: free ports of this machine, a temporary folder, drawn pictures."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image, ImageFilter
from playwright.sync_api import Page

from fanlight.cli.owner_client import OwnerClient
from fanlight.cli.processes import Processes
from fanlight.learning.datasets import prepare, shapes
from fanlight.learning.datasets.chance import Chance
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.lifeline import END_WITH_STDIN
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import HeadName, Task, Training

T = TypeVar("T")

PATIENCE_S: Final = 300.0
TOKENS_HOLD_S: Final = 86_400
_FIRST_PORTS: Final = range(8000, 60_000, 100)
_AS_USUAL: Final = Training()
_MISSING: Final = (0, 14, 8, 3)
"""So many pictures of a class a home has less than others."""


class Federation:
    """Both servers and some devices, each started when a picture needs it.

    Args:
        folder: everything lies below it.
        processes: ends them all.
        ports: some that are free, main server first, the aggregator last.
        policy, training, head: of the task.
    """

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        ports: list[int],
        policy: Policy,
        training: Training,
        head: HeadName,
    ) -> None:
        self.folder = folder
        self.processes = processes
        self._device_ports = iter(ports[1:-1])
        self.main = OwnerClient.here("main", ports[0], folder / "federation" / "main")
        self.aggregator = OwnerClient.here("aggregator", ports[-1], folder / "federation" / "aggregator")
        task = Task(name="shapes", classes=shapes.CLASSES, training=training, policy=policy, head=head)
        init_federation(
            folder / "federation",
            main_url=self.main.url,
            aggregator_url=self.aggregator.url,
            task_json=task.to_json(),
        )

    def start_main(self) -> OwnerClient:
        """Start the main server."""
        return self._start(self.main, "server")

    def start_aggregator(self) -> OwnerClient:
        """Start the secure aggregator."""
        return self._start(self.aggregator, "aggregator")

    def start_device(self, name: str, pictures: Path, *options: str, token: Path | None = None) -> OwnerClient:
        """Start a device on its pictures, with a token of its own unless one is given."""
        token = token or issue_token_file(self.folder / "federation", name, int(time.time()) + TOKENS_HOLD_S)
        device = OwnerClient.here(name, next(self._device_ports), self.folder / name.replace(" ", "-"))
        return self._start(device, "device", "--token", str(token), "--data", str(pictures), *options)

    def stop(self, role: OwnerClient) -> None:
        """End one of them."""
        self.processes.leave_out(role.name)

    @contextmanager
    def asleep(self, role: OwnerClient) -> Iterator[None]:
        """It neither answers nor hangs up, as on a machine that is busy with something else."""
        pid = self.processes.running[role.name].popen.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _start(self, role: OwnerClient, *words: str) -> OwnerClient:
        arguments = [*words, "--state", str(role.state), "--port", str(role.port)]
        self.processes.start(role.name, arguments, self.folder / f"{role.name.replace(' ', '-')}.log")
        wait(lambda: self._all_run() and role.is_healthy(), f"{role.name} answers")
        return role

    def _all_run(self) -> bool:
        for error in self.processes.ended().values():
            raise error
        return True


@contextmanager
def federation(
    folder: Path, devices: int, policy: Policy, training: Training = _AS_USUAL, head: HeadName = "softmax"
) -> Iterator[Federation]:
    """One with ports for so many devices; everything ends with the ``with`` block."""
    folder.mkdir(parents=True)
    quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", END_WITH_STDIN: "1"}
    with Processes({**os.environ, **quiet}) as processes:
        yield Federation(folder, processes, free_ports(devices + 2), policy, training, head)


def free_ports(count: int) -> list[int]:
    """So many neighbours, from a round number on, so that pictures show the same addresses where they can."""
    rows = (list(range(first, first + count)) for first in _FIRST_PORTS)
    return next(row for row in rows if all(map(_is_free, row)))


def wait(condition: Callable[[], T | None], what: str) -> T:
    """What ``condition`` gives as soon as it is true.

    Raises:
        TimeoutError: it does not come true.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Still not so after {PATIENCE_S:.0f} s: {what}.")
        time.sleep(0.1)
    return found


def prepared(folder: Path, devices: int) -> tuple[Path, ...]:
    """A folder of labelled shapes for each device; homes differ in what they see much of."""
    folders = prepare("shapes", devices, 0, folder).device_folders
    for number, home in enumerate(folders):
        for turn, name in enumerate(shapes.CLASSES):
            missing = _MISSING[(number + turn) % len(_MISSING)]
            found = [path for path in home.rglob("*.png") if path.parent.name == name]
            for path in sorted(found, key=lambda path: path.stem[::-1])[:missing]:
                path.unlink()
    return folders


def performed(device: OwnerClient, *steps: str) -> None:
    """Perform steps of a role, each after the one before is done."""
    for step in steps:
        job = device.post(step)["job"]
        wait(lambda job=job: device.get(f"/api/v1/jobs/{job}")["state"] == "done", f"{device.name} did {step}")  # type: ignore[misc]


def press(page: Page, device: OwnerClient, step: str) -> None:
    """Press the button of a step on its page."""
    page.goto(device.url + step)
    page.locator("form.act button").click()


def leave(page: Page) -> None:
    """Leave the federation, on a device's page Privacy."""
    page.locator("#sure").check()
    page.get_by_role("button", name="Leave the federation").click()


def looked_through(page: Page) -> None:
    """Until the device knows all of its pictures; the open page hears of it."""
    page.get_by_text("Looking through your pictures").wait_for(state="hidden", timeout=1000 * PATIENCE_S)


def new_pictures(folder: Path, each: int) -> list[Path]:
    """Pictures that nobody has labelled yet; one is blurred, one is there twice."""
    folder.mkdir(parents=True)
    made: list[Path] = []
    for number in range(each):
        for name in shapes.CLASSES:
            picture = Image.fromarray(shapes.draw(name, Chance(f"screenshots-{name}", number)))
            made.append(folder / f"camera-{len(made) + 1:02}.png")
            picture.save(made[-1])
    Image.open(made[1]).filter(ImageFilter.GaussianBlur(4)).save(made[1])
    Image.open(made[2]).resize((90, 90)).save(made[3])
    return made


def own_pictures(folder: Path, count: int) -> list[Path]:
    """Pictures of what only one home has: a striped star."""
    folder.mkdir(parents=True)
    made = []
    for number in range(count):
        picture = shapes.draw("star", Chance("screenshots-own", number)).copy()
        picture[::6] = (240, 140, 30)
        made.append(folder / f"own-{number}.png")
        Image.fromarray(picture).save(made[-1])
    return made


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
