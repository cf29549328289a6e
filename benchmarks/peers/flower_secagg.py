"""Rounds of Flower's SecAgg+ on this machine, for ``secure_aggregation``, which runs them in the same run.

Flower lives in an environment of its own, which ``make bench-flower`` makes. What runs there is
``flower_secagg_app/run.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.flower import ENVIRONMENT

NEEDED_SHARES = 0.6
"""Share of a key's shares that are needed to put it together."""
NEEDED_WITH_DROPOUTS = 0.4
"""The same where few neighbours are asked and some of them drop out: with more, Flower would often halt the round."""
_PROGRAM = Path(__file__).resolve().parent / "flower_secagg_app" / "run.py"
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Found:
    """What was seen of it.

    Attributes:
        seconds: of each round but the first.
        bytes_per_parameter: of a masked update as Flower sends it.
    """

    seconds: list[float]
    bytes_per_parameter: float


def is_here() -> bool:
    """Can it be measured? It needs Flower, and Ray for its simulation engine."""
    packages = ENVIRONMENT.glob("lib/python*/site-packages")
    return any((folder / "ray").is_dir() and (folder / "flwr").is_dir() for folder in packages)


def measure(clients: int, parameters: int, shares: int, dropouts: int, rounds: int) -> Found:
    """Rounds of SecAgg+; with as many ``shares`` as ``clients``, everybody is everybody's neighbour.

    Raises:
        SystemExit: Flower did not finish, or not with the clients that did not drop out.
    """
    part = NEEDED_WITH_DROPOUTS if dropouts and shares < clients else NEEDED_SHARES
    threshold = max(2, int(shares * part))
    given = {
        "clients": clients,
        "parameters": parameters,
        "shares": shares,
        "threshold": threshold,
        "dropouts": dropouts,
        "rounds": rounds,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [str(ENVIRONMENT / "bin" / "python"), str(_PROGRAM), *words]
    environment = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise SystemExit(f"Flower did not finish: {done.stderr[-2000:]}")
    found = json.loads(lines[-1])
    if len(found["seconds"]) != rounds - 1 or set(found["counts"]) != {clients - dropouts}:
        raise SystemExit(f"Flower added up {found['counts']} updates in its rounds: {done.stderr[-2000:]}")
    return Found(found["seconds"], found["bytes"])
