"""Studies for tests: small ones, run by real processes that share the features of their pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from fanlight.services.main_server.studies.folder import ACTIVE, StudyFolder
from fanlight.services.main_server.studies.studies import Studies

T = TypeVar("T")
LIMIT_S: Final = 400.0
"""On a machine that is busy with other tests: studies stand behind all of them."""
SMALL: Final[dict[str, Any]] = {"dataset": "shapes", "partition": "iid", "devices": 6, "rounds": 3, "picture_size": 32}
LONG: Final[dict[str, Any]] = SMALL | {"rounds": 1000}
"""Nobody waits for its end."""


def studies_in(folder: Path, shared: Path) -> Studies:
    """Studies whose features are in a folder that tests have in common."""
    folder.mkdir(exist_ok=True)
    if not (folder / "shared").exists():
        (folder / "shared").symlink_to(shared, target_is_directory=True)
    return Studies(folder, time.time, lambda: None)


def until(found: Callable[[], T | None], what: str) -> T:
    """Ask again until the answer is neither None nor False."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        answer = found()
        if answer is not None and answer is not False:
            return answer
        assert time.monotonic() < deadline, f"it never happened: {what}"
        time.sleep(0.05)


def ended(run: StudyFolder) -> StudyFolder:
    """The run, when it neither waits nor runs any more."""
    until(lambda: run.course.state not in ACTIVE, f"study {run.number} ends")
    return run


def begun(run: StudyFolder, rounds: int = 2) -> StudyFolder:
    """The run, when some rounds are done; it must not have ended."""
    until(lambda: len(run.lines) >= rounds or run.course.state not in ACTIVE, f"study {run.number} has {rounds} rounds")
    assert run.course.state == "running", run.course
    return run
