"""How long is a round of Flower when clients have nothing to do, and who may die? Its own processes on loopback.

    make bench-flower
    make bench NAME=round_latency

The first command makes an environment of its own for Flower (``.venv-flower``), and runs a superlink and two supernodes
there; where that environment is, ``round_latency`` and ``recovery`` run Flower as well, and name its figures as the
rival's. Flower aggregates without secure aggregation here.

A round is from the end of one aggregation to the end of the next, so the first one, with its start-up, does not count.
A dead node is one of the two, killed (``kill -9``) in the middle of the run: the longest round is told. A dead server
is the superlink, killed in the middle of another run and started again with its database: how many of the rounds that
were left end then, and in what state Flower says the run is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, only this folder would be on the path

from benchmarks.federation import free_ports
from benchmarks.report import Figure, Report

SIZES = {"100 parameters": 100, "3.5M parameters": 3_500_000}
"""Parameters of a model, by what its figures are called."""
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-flower"
_LICENSE = Path(__file__).resolve().parents[2] / "LICENSE"
_APP = Path(__file__).resolve().parent / "flower_app"
ROUNDS = 5
_NODES = 2
_PATIENCE_S = 240.0
_SETTLE_S = 8.0
_UNDER_WAY_S = 10.0
_IN_A_ROUND_S = 2.0
_TICK_S = 0.5


def is_here() -> bool:
    """Has ``make bench-flower`` made its environment?"""
    return (ENVIRONMENT / "bin" / "flwr").exists()


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each size; the first one does not count")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    arguments = parser.parse_args()
    figures = [
        Figure(f"Flower, round, {title}", statistics.median(round_seconds(size, arguments.rounds)), "s")
        for title, size in SIZES.items()
    ]
    figures.append(Figure("Flower, one of two nodes killed: longest round", dead_node_seconds(arguments.rounds), "s"))
    dead = dead_server(arguments.rounds)
    figures.append(
        Figure(f"Flower, server killed ({dead.state}): of {dead.left} rounds left, ended", dead.after, "rounds")
    )
    return Report("flower", tuple(figures)).show(as_json=arguments.json)


def dead_node_seconds(rounds: int = ROUNDS) -> float:
    """The longest round of a run in which one of two nodes is killed."""
    return max(round_seconds(SIZES["100 parameters"], rounds, kill_one=True))


@dataclass(frozen=True)
class DeadServer:
    """What became of a run whose server was killed, and was started again.

    Attributes:
        left: rounds that were still asked for at its death.
        after: how many of them have ended.
        state: of the run in the end, in Flower's words; empty if its server does not answer.
    """

    left: int
    after: int
    state: str


def dead_server(rounds: int = ROUNDS) -> DeadServer:
    """Kill the server in the middle of a run, start it again, and wait until the run is over, for a while.

    The server keeps its state in a database, so that it could go on.

    Raises:
        SystemExit: Flower did not begin.
    """
    with _deployed(keeps_state=True) as flower:
        flower.begin(rounds, SIZES["100 parameters"], least=_NODES)
        flower.wait_until(lambda: bool(flower.ended()))
        time.sleep(_IN_A_ROUND_S)
        _kill(flower.server)
        before = len(flower.ended())
        flower.start_server()
        with suppress(SystemExit):  # a run that has not ended until then is told as what it is
            flower.wait_until(lambda: flower.state().startswith("finished"))
        return DeadServer(left=rounds - before, after=len(flower.ended()) - before, state=flower.state())


def round_seconds(parameters: int, rounds: int = ROUNDS, *, kill_one: bool = False) -> list[float]:
    """Seconds of each round but the first.

    Args:
        parameters: of the model.
        rounds: how many.
        kill_one: of the nodes, in the middle of the run?

    Raises:
        SystemExit: Flower did not finish.
    """
    with _deployed() as flower:
        flower.begin(rounds, parameters, least=1 if kill_one else _NODES)
        if kill_one:
            time.sleep(_UNDER_WAY_S)
            _kill(flower.nodes[0])
        flower.wait_until(lambda: len(flower.ended()) == rounds)
        return [after - before for before, after in pairwise(flower.ended())]


class _Deployment:
    """A superlink and its nodes on loopback, and one run of the app.

    Args:
        folder: of all that they write.
        running: ends them.
        keeps_state: does the superlink have a database, or only its memory, which is what it does unless told?
    """

    def __init__(self, folder: Path, running: ExitStack, *, keeps_state: bool) -> None:
        port, *node_ports = free_ports(1 + _NODES)
        self._folder = folder
        self._running = running
        self._times = folder / "times"
        self._environment = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_HOME": str(folder)}
        self._environment["PATH"] = f"{ENVIRONMENT / 'bin'}{os.pathsep}{self._environment['PATH']}"
        self._database = ["--database", str(folder / "state.db")] if keeps_state else []
        self._port, address = port, f"127.0.0.1:{port}"
        (folder / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{address}"\ninsecure = true\n',
            encoding="utf-8",
        )
        self.server = self.start_server()
        time.sleep(_SETTLE_S)
        self.nodes = [
            self._start("flower-supernode", "--insecure", "--superlink", address, "--port", str(node_port))
            for node_port in node_ports
        ]
        time.sleep(_SETTLE_S)

    def start_server(self) -> subprocess.Popen[bytes]:
        """The superlink, for the first time or once more."""
        options = ["--insecure", "--port", str(self._port), "--disable-runtime-dependency-installation"]
        return self._start("flower-superlink", *options, *self._database)

    def begin(self, rounds: int, parameters: int, least: int) -> None:
        """Have the app run; no round begins without ``least`` nodes.

        Raises:
            SystemExit: Flower refuses.
        """
        said = f'rounds={rounds} parameters={parameters} least={least} times="{self._times}"'
        app = shutil.copytree(_APP, self._folder / "app")
        shutil.copy(_LICENSE, app)  # Flower asks for one beside the app
        if self._flwr("run", str(app), "here", "--run-config", said).returncode != 0:
            raise SystemExit(f"Flower did not begin: {self._log()}")

    def ended(self) -> list[float]:
        """When each round so far has ended."""
        return [float(line) for line in self._times.read_text("utf-8").split()] if self._times.exists() else []

    def state(self) -> str:
        """Of the run, as Flower says it; empty while its server does not answer."""
        try:
            runs = json.loads(self._flwr("list", "here", "--format", "json").stdout).get("runs")
        except ValueError:  # words, where an answer should be
            return ""
        return str(runs[0]["status"]) if runs else ""

    def wait_until(self, found: Callable[[], bool]) -> None:
        """Look until it is so.

        Raises:
            SystemExit: it takes too long.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not found():
            if time.monotonic() > deadline:
                raise SystemExit(f"Flower did not finish: {self._log()}")
            time.sleep(_TICK_S)

    def _flwr(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.run(
                ["flwr", *words],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=_PATIENCE_S,
                check=False,
            )

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return self._running.enter_context(_running(list(command), self._environment, self._folder))


@contextmanager
def _deployed(*, keeps_state: bool = False) -> Iterator[_Deployment]:
    with tempfile.TemporaryDirectory(prefix="fanlight-flower-") as name, ExitStack() as running:
        yield _Deployment(Path(name), running, keeps_state=keeps_state)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it has started, as if by ``kill -9``."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One of Flower's processes, with all that it starts."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it may have been killed
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
