"""Where a demo keeps everything.

::

    STATE/pictures/        prepared data sets, shared by all demos
    STATE/demo/            the demo that goes on where it stopped (without --exit)
    STATE/run-1, run-2, …  one for each run with --exit: a measurement starts from nothing
        demo.json          what it is a demo of
        federation/        root/, main/, aggregator/, tokens/
        device-1/, …       states of the devices
        logs/              main.log, aggregator.log, device-1.log, …

A folder appears under its name only when it is complete.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fanlight.errors import StorageError, UsageError, from_os_error

DESCRIPTION_FILE = "demo.json"
GOES_ON = "demo"

_RUN = re.compile(r"run-(\d+)")
_TOKENS_HOLD_S = 365 * 86_400


@dataclass(frozen=True)
class Description:
    """What a demo is a demo of; ``dataset`` is a name, or the whole path of a folder, ``backbone`` a name.

    Without one it has the usual one.
    """

    dataset: str
    classes: tuple[str, ...]
    devices: int
    seed: int
    port_base: int
    head: str = "softmax"
    backbone: str | None = None
    fine_tune: str | None = None

    @property
    def main_port(self) -> int:
        """The main server's port."""
        return self.port_base

    @property
    def aggregator_port(self) -> int:
        """The aggregator's port."""
        return self.port_base + 3

    def device_port(self, number: int) -> int:
        """The port of device ``number``, from 1: the aggregator has the port after the second one."""
        return self.port_base + number + (number >= 3)

    @property
    def ports(self) -> list[int]:
        """All ports."""
        devices = [self.device_port(number) for number in range(1, self.devices + 1)]
        return [self.main_port, self.aggregator_port, *devices]


@dataclass(frozen=True)
class DemoFolder:
    """The folder of one demo."""

    root: Path

    @property
    def federation(self) -> Path:
        """The federation's folder."""
        return self.root / "federation"

    @property
    def main(self) -> Path:
        """State of the main server."""
        return self.federation / "main"

    @property
    def aggregator(self) -> Path:
        """State of the aggregator."""
        return self.federation / "aggregator"

    def device(self, number: int) -> Path:
        """State of device ``number``, from 1."""
        return self.root / f"device-{number}"

    def token(self, number: int) -> Path:
        """Token file of device ``number``, from 1."""
        return self.federation / "tokens" / f"device-{number}.json"

    def log(self, role: str) -> Path:
        """Log file of ``main``, ``aggregator`` or ``device-1``."""
        return self.root / "logs" / f"{role}.log"


def open_demo(state: Path, description: Description, task_json: bytes, *, afresh: bool) -> DemoFolder:
    """The demo's folder, made if need be.

    Args:
        state: the folder after ``--state``.
        description: what is asked for.
        task_json: the task of a new federation; that of one that goes on stays, but for its policy.
        afresh: begin a new run instead of going on.

    Raises:
        UsageError: the demo that would go on is one of something else.
        StorageError: the folder cannot be written, or is damaged.
    """
    if afresh:
        return _make(state, lambda: _next_run(state), description, task_json)
    folder = state / GOES_ON
    if not folder.exists():
        return _make(state, lambda: folder, description, task_json)
    _refuse_other(folder, _read(folder), description)
    return DemoFolder(folder)


def newest_demo(state: Path) -> DemoFolder | None:
    """The demo below ``state`` that was used last, if there is one."""
    used = [
        ((folder.parent / "federation" / "main").stat().st_mtime_ns, folder.parent)
        for folder in state.glob(f"*/{DESCRIPTION_FILE}")
        if (folder.parent / "federation" / "main").is_dir()
    ]
    return DemoFolder(max(used)[1]) if used else None


def check_state(state: Path, description: Description) -> None:
    """Refuse early what ``open_demo`` would refuse, but for the classes, which are known later.  Errors as there."""
    folder = state / GOES_ON
    if folder.exists():
        found = _read(folder)
        _refuse_other(folder, found, replace(description, classes=found.classes))


def _refuse_other(folder: Path, found: Description, asked: Description) -> None:
    there, here = asdict(found), asdict(asked)
    differing = [name for name in there if there[name] != here[name]]
    if not differing:
        return
    what = "; ".join(f"{name} {_shown(there[name])}, not {_shown(here[name])}" for name in differing)
    raise UsageError(
        f"{folder} holds a demo of something else: {what}.",
        next=f"Choose another --state, ask for the same again, or remove {folder}.",
        slug="other-demo",
    )


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _read(folder: Path) -> Description:
    path = folder / DESCRIPTION_FILE
    try:
        fields = json.loads(path.read_bytes())
        return Description(**{**fields, "classes": tuple(fields["classes"])})
    except OSError as error:
        raise StorageError(
            f"{folder} is not the folder of a demo: {path.name}: {error.strerror}.", next="Choose another --state."
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{path} is damaged.", next=f"Remove {folder}, or choose another --state.") from error


def _make(state: Path, place: Callable[[], Path], description: Description, task_json: bytes) -> DemoFolder:
    from fanlight.services.federation import init_federation, issue_token_file
    from fanlight.storage.folders import make_private_folder

    make_private_folder(state)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=state))
    try:
        made = DemoFolder(unfinished)
        init_federation(
            made.federation,
            main_url=f"http://localhost:{description.main_port}",
            aggregator_url=f"http://localhost:{description.aggregator_port}",
            task_json=task_json,
        )
        make_private_folder(unfinished / "logs")
        for number in range(1, description.devices + 1):
            issue_token_file(made.federation, f"device-{number}", int(time.time()) + _TOKENS_HOLD_S)
        (unfinished / DESCRIPTION_FILE).write_text(json.dumps(asdict(description), indent=2) + "\n")
        return DemoFolder(_rename(unfinished, place))
    except OSError as error:
        raise from_os_error(error, str(state)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _rename(unfinished: Path, place: Callable[[], Path]) -> Path:
    for _ in range(100):
        target = place()
        try:
            return unfinished.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    raise StorageError(f"{target} is taken again and again by other demos.", next="Choose another --state.")


def _next_run(state: Path) -> Path:
    numbers = [int(match[1]) for path in state.iterdir() if (match := _RUN.fullmatch(path.name))]
    return state / f"run-{max(numbers, default=0) + 1}"
