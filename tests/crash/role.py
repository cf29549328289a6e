"""One role as a real process: started by its normal command, told where to die, listened to, and ended."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.crash.launcher import Life, launch
from tests.crash.points import Point

T = TypeVar("T")

HOST: Final = "127.0.0.1"
PROCESSES: Final = multiprocessing.get_context("forkserver")
"""Each role's process is forked from one that has imported everything: a restart takes a fraction of a second."""

PROCESSES.set_forkserver_preload(
    ["tests.crash.clock", "tests.crash.launcher", "fanlight.apps", "fanlight.consoles.device", "uvicorn"]
)
LIMIT_S: Final = 300.0
"""Long enough for a machine that does much else; nothing takes that long unless it is broken."""
TICK_S: Final = 0.02
_ANSWERS: Final = ("armed", "listing", "shifted")


@dataclass
class Role:
    """One role: how it is started, and what it has said."""

    name: str
    state: Path
    folder: Path
    port: int
    words: list[str]
    program: Callable[[Life, Connection], None] = launch
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
        self.process = PROCESSES.Process(target=self.program, args=(life, theirs), name=self.name)
        self.process.start()
        theirs.close()

    def command(self, *words: object) -> bool:
        """Tell the process's launcher something, and wait until it has heard; False if it dies before."""
        before = self._answers()
        assert self._commands is not None
        with suppress(BrokenPipeError):
            self._commands.send(words)
        until(lambda: self._answers() > before or not self.is_running, f"{self.name} hears {words}")
        return self._answers() > before

    def _answers(self) -> int:
        return sum(event["kind"] in _ANSWERS for event in self.events())

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
        time.sleep(TICK_S)
