"""Terminals for tests: programs that run until Ctrl-C, a shell that keeps its variables, and free ports."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import httpx

LIMIT_S = 300
"""Long enough for a machine that does much else; nothing takes that long unless it is broken."""
_TICK_S = 0.1
_END = "--- end of block ---"

T = TypeVar("T")


def _place() -> int:
    """Which of 40 places this process of the tests has; workers of one run have different ones."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return (os.getpid() if worker is None else os.getppid() + int(worker.removeprefix("gw"))) % 40


_PORTS_EACH: Final = 250
_ports: Final = itertools.cycle(range(10_000 + _place() * _PORTS_EACH, 10_000 + (_place() + 1) * _PORTS_EACH))
_BASES_EACH: Final = 300
_bases: Final = itertools.cycle(range(20_000 + _place() * _BASES_EACH, 20_000 + (_place() + 1) * _BASES_EACH, 20))
"""Below those that the system gives to connections that go out."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now.

    Each process of the tests has its own, and the system gives none of these to a connection that goes out, as it does
    those that it names for port 0: between the question and the program that is to listen, one of them may be gone.
    """
    found: list[int] = []
    for port in itertools.islice(_ports, _PORTS_EACH):
        with contextlib.suppress(OSError), socket.create_server(("localhost", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports")


def free_base() -> int:
    """A port followed by five more that nobody listens on, and that no other process of the tests is about to take."""
    for base in itertools.islice(_bases, _BASES_EACH // 20):
        probes = [socket.socket() for _ in range(6)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("localhost", base + offset))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return base
    raise AssertionError("no free ports")


def until(found: Callable[[], T | None], what: str) -> T:
    """Ask again until the answer is neither None nor False."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        answer = found()
        if answer is not None and answer is not False:
            return answer
        assert time.monotonic() < deadline, f"it never happened: {what}"
        time.sleep(_TICK_S)


@dataclass
class Terminals:
    """Each holds one program; they share a working folder and variables, and end by Ctrl-C."""

    folder: Path
    variables: Mapping[str, str]
    _running: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def start(self, command: str, port: int, variables: Mapping[str, str] | None = None) -> Path:
        """Run ``command`` until ``close``; returns its log once something answers at ``port``."""
        log = self.folder / f"terminal-{port}.txt"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env={**self.variables, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((popen, log))

        def answers() -> bool:
            assert popen.poll() is None, f"{command}\nhas ended:\n{log.read_text()}"
            try:
                return httpx.get(f"http://localhost:{port}/healthz", trust_env=False).is_success
            except httpx.HTTPError:
                return False

        until(answers, f"{command} answers at {port}")
        return log

    def close(self, number: signal.Signals = signal.SIGINT, patience_s: float = LIMIT_S) -> list[str]:
        """Press Ctrl-C (or send another signal to the whole group) in the order of starting; what each had written.

        Raises:
            subprocess.TimeoutExpired: one has not ended after ``patience_s`` seconds.
        """
        logs = []
        while self._running:
            popen, log = self._running.pop(0)
            try:
                if popen.poll() is None:
                    os.killpg(popen.pid, number)
                popen.wait(patience_s)
            finally:
                if popen.poll() is None:
                    os.killpg(popen.pid, signal.SIGKILL)
                    popen.wait()
            logs.append(log.read_text())
        return logs


class Shell:
    """One bash that stays open between blocks, as the terminal does in which a person types them."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._popen = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.run("set -eo pipefail")

    def run(self, block: str) -> str:
        """Run a block of commands; what it printed.  All of them must succeed."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(f"{block}\nprintf '\\n%s\\n' '{_END}'\n")
        self._popen.stdin.flush()
        said = ""
        for line in self._popen.stdout:
            if line.strip() == _END:
                return said.removesuffix("\n")  # the one before the end
            said += line
        raise AssertionError(f"{block}\nfailed:\n{said}")

    def close(self) -> None:
        """End it."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()
        self._popen.stdout.close()
        self._popen.wait(LIMIT_S)


def port_of(command: str) -> int:
    """The port that a command line listens on."""
    found = re.search(r"--(?:port|bind) (?:[\w.]+:)?(\d+)", command)
    assert found, command
    return int(found[1])
