"""How long is a round of Flower when clients have nothing to do? Its own processes on loopback, beside ours.

    make bench-flower
    make bench NAME=round_latency

The first command makes an environment of its own for Flower (``.venv-flower``), runs a superlink and two supernodes,
and writes what it has measured into that environment; the second then names Flower's figures as the rival's. They are
for this machine: on another one, measure again. Flower aggregates without secure aggregation here.

A round is from the end of one aggregation to the end of the next, so the first one, with its start-up, does not count.
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
from contextlib import ExitStack, contextmanager
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
_NODES = 2
_PATIENCE_S = 240.0
_SETTLE_S = 8.0
_TICK_S = 0.5


def measured_here() -> Mapping[str, float]:
    """Seconds a round of Flower on this machine, by the keys of ``SIZES``; empty if it was not measured."""
    file = ENVIRONMENT / "rounds.json"
    found: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def main() -> int:
    """Parse, measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of each size; the first one does not count")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    arguments = parser.parse_args()
    found = {title: statistics.median(round_seconds(size, arguments.rounds)) for title, size in SIZES.items()}
    (ENVIRONMENT / "rounds.json").write_text(json.dumps(found), encoding="utf-8")
    figures = tuple(Figure(f"Flower, round, {title}", seconds, "s") for title, seconds in found.items())
    return Report("flower", figures).show(as_json=arguments.json)


def round_seconds(parameters: int, rounds: int) -> list[float]:
    """Seconds of each round but the first.

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
        for node_port in node_ports:
            node = ["flower-supernode", "--insecure", "--superlink", address, "--port", str(node_port)]
            running.enter_context(_running(node, environment, folder))
        time.sleep(_SETTLE_S)
        times = folder / "times.json"
        said = f'rounds={rounds} parameters={parameters} times="{times}"'
        app = shutil.copytree(_APP, folder / "app")
        shutil.copy(_LICENSE, app)  # Flower asks for one beside the app
        with (folder / "log").open("ab") as log:
            command = ["flwr", "run", str(app), "here", "--run-config", said]
            begun = subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=_PATIENCE_S, check=False)
        deadline = time.monotonic() + _PATIENCE_S
        while not (times.exists() and times.stat().st_size):
            if begun.returncode != 0 or time.monotonic() > deadline:
                raise SystemExit(f"Flower did not finish: {(folder / 'log').read_text(errors='replace')[-2000:]}")
            time.sleep(_TICK_S)
        return [after - before for before, after in pairwise(json.loads(times.read_text(encoding="utf-8")))]


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """One of Flower's processes, with all that it starts."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
