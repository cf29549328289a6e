"""How long is a round of Flower when clients have nothing to do, and when one dies? Its own processes on loopback.

    make bench-flower
    make bench NAME=round_latency

The first command makes an environment of its own for Flower (``.venv-flower``), and runs a superlink and two supernodes
there; where that environment is, ``round_latency`` and ``recovery`` run Flower as well, and name its figures as the
rival's. Flower aggregates without secure aggregation here.

A round is from the end of one aggregation to the end of the next, so the first one, with its start-up, does not count.
A dead node is one of the two, killed (``kill -9``) in the middle of the run: the longest round is told.
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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
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
    return Report("flower", tuple(figures)).show(as_json=arguments.json)


def dead_node_seconds(rounds: int = ROUNDS) -> float:
    """The longest round of a run in which one of two nodes is killed."""
    return max(round_seconds(SIZES["100 parameters"], rounds, kill_one=True))


def round_seconds(parameters: int, rounds: int = ROUNDS, *, kill_one: bool = False) -> list[float]:
    """Seconds of each round but the first.

    Args:
        parameters: of the model.
        rounds: how many.
        kill_one: of the nodes, in the middle of the run?

    Raises:
        SystemExit: Flower did not finish.
    """
    with tempfile.TemporaryDirectory(prefix="fanlight-flower-") as name, ExitStack() as running:
        folder, (port, *node_ports) = Path(name), free_ports(1 + _NODES)
        environment = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_HOME": name}
        environment["PATH"] = f"{ENVIRONMENT / 'bin'}{os.pathsep}{environment['PATH']}"
        address = f"127.0.0.1:{port}"
        (folder / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{address}"\ninsecure = true\n',
            encoding="utf-8",
        )
        server = ["flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation"]
        running.enter_context(_running(server, environment, folder))
        time.sleep(_SETTLE_S)
        nodes = []
        for node_port in node_ports:
            node = ["flower-supernode", "--insecure", "--superlink", address, "--port", str(node_port)]
            nodes.append(running.enter_context(_running(node, environment, folder)))
        time.sleep(_SETTLE_S)
        times = folder / "times.json"
        least = 1 if kill_one else _NODES  # of nodes, without which no round begins
        said = f'rounds={rounds} parameters={parameters} least={least} times="{times}"'
        app = shutil.copytree(_APP, folder / "app")
        shutil.copy(_LICENSE, app)  # Flower asks for one beside the app
        with (folder / "log").open("ab") as log:
            command = ["flwr", "run", str(app), "here", "--run-config", said]
            begun = subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=_PATIENCE_S, check=False)
        if kill_one:
            time.sleep(_UNDER_WAY_S)
            os.killpg(nodes[0].pid, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE_S
        while not (times.exists() and times.stat().st_size):
            if begun.returncode != 0 or time.monotonic() > deadline:
                raise SystemExit(f"Flower did not finish: {(folder / 'log').read_text(errors='replace')[-2000:]}")
            time.sleep(_TICK_S)
        return [after - before for before, after in pairwise(json.loads(times.read_text(encoding="utf-8")))]


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
