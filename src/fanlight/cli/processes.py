"""Several processes that are ended together.

1. Each is the leader of a session of its own: a Ctrl-C in the terminal reaches only the supervisor, which ends the
   others in order, and ends whatever they have started with them.
2. Each holds the reading end of a pipe from the supervisor and ends when that breaks (``core.lifeline``): even
   if the supervisor is killed, nothing is left behind.
3. What they say goes to a log file each, for their owner only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from fanlight.errors import LocalError

_PATIENCE_S = 10.0
_LAST_LINES = 15
_TICK_S = 0.05


@dataclass
class Process:
    """One process under supervision: its ``name``, where its log is, and its peak of memory once that is known."""

    name: str
    arguments: Sequence[str]
    log: Path
    popen: subprocess.Popen[bytes]
    peak_rss_bytes: int | None = None

    def last_lines(self) -> str:
        """The end of its log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        return ""


@dataclass
class Processes:
    """Starts processes, watches them, and ends all of them on leaving the ``with`` block.

    Attributes:
        environment: of the processes.
        module: what ``python -m`` runs; benchmarks put stand-ins for the learning in front of the program.
    """

    environment: Mapping[str, str]
    module: str = "fanlight"
    running: dict[str, Process] = field(default_factory=dict)
    left_out: dict[str, Process] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Begin with none."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them all."""
        self.stop()

    def start(self, name: str, arguments: Sequence[str], log: Path) -> None:
        """Start ``python -m MODULE ARGUMENTS``, with its output appended to ``log``.

        Raises:
            LocalError: it cannot be started.
        """
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                popen = subprocess.Popen(
                    [sys.executable, "-m", self.module, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=handle,
                    stderr=subprocess.STDOUT,
                    env=dict(self.environment),
                    start_new_session=True,
                )
            finally:
                os.close(handle)
        except OSError as error:
            raise LocalError(f"{name} cannot be started: {error.strerror} ({log}).") from error
        self.running[name] = Process(name, arguments, log, popen)

    def ended(self) -> dict[str, LocalError]:
        """Those that should run and have ended, each with an error that names it and shows the end of its log."""
        codes = {name: process.popen.poll() for name, process in self.running.items()}
        return {name: _death(self.running[name], code) for name, code in codes.items() if code is not None}

    def start_again(self, name: str) -> None:
        """Start one that has ended, with the same arguments and log; errors as in ``start``."""
        ended = self.running[name]
        _clear_away(ended)
        self.start(name, ended.arguments, ended.log)

    def leave_out(self, name: str) -> None:
        """Go on without one that has ended."""
        self.left_out[name] = self.running.pop(name)
        _clear_away(self.left_out[name])

    def measure(self) -> None:
        """Note each one's peak of memory so far (Linux; elsewhere it is known once they have ended)."""
        for process in self.running.values():
            process.peak_rss_bytes = peak_from_proc(process.popen.pid) or process.peak_rss_bytes

    def stop(self) -> None:
        """End all: politely at first, by force after some seconds.  Harmless if they have ended."""
        self.measure()
        for process in self.running.values():
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and not all(_ended(process) for process in self.running.values()):
            time.sleep(_TICK_S)
        for process in self.running.values():
            _clear_away(process)

    def peak_rss_mb(self) -> dict[str, float | None]:
        """The most memory each one held, in megabytes (10^6 bytes)."""
        return {
            name: None if process.peak_rss_bytes is None else round(process.peak_rss_bytes / 1e6, 1)
            for name, process in (self.running | self.left_out).items()
        }


def _death(process: Process, code: int) -> LocalError:
    return LocalError(
        f"{process.name} has ended ({_ending(code)}). The end of {process.log}:\n{process.last_lines()}",
        next=f"The whole log is in {process.log}.",
        slug="process-died",
    )


def _clear_away(process: Process) -> None:
    _signal_group(process, signal.SIGKILL)  # also what a process that ended may have left behind
    while not _ended(process):
        time.sleep(_TICK_S)
    if process.popen.stdin is not None:
        process.popen.stdin.close()


def _ended(process: Process) -> bool:
    if process.popen.returncode is not None:
        return True
    if sys.platform == "linux":
        return process.popen.poll() is not None
    try:  # the only way to a child's peak where there is no /proc
        pid, status, usage = os.wait4(process.popen.pid, os.WNOHANG)
    except ChildProcessError:
        return process.popen.poll() is not None
    if pid == 0:
        return False
    process.popen.returncode = os.waitstatus_to_exitcode(status)
    process.peak_rss_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return True


def _signal_group(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of which only zombies are left
        os.killpg(process.popen.pid, number)


def peak_from_proc(pid: int) -> int | None:
    """The peak resident set of a process so far, in bytes; None where there is no such process, or no /proc."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
