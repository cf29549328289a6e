"""Does it help that a part of the backbone learns, and what does it cost? The real system both ways.

    make bench NAME=fine_tuning BIN=.venv-torch/bin ARGS="--json"
    make bench NAME=fine_tuning BIN=.venv-torch/bin ARGS="--dataset fashion --rounds 3 --fine-tune 2:batch_norm=local"

Both are ``fanlight demo`` with two devices: real processes, masked reports, the same pictures of the same seed. Once
the head alone learns, once a part of the backbone too (``--fine-tune``; the last block by default).

*Balanced accuracy* is the last model's on the held-out pictures of both devices, in an evaluation-only masked round.
*Seconds a round* is the median over the rounds, of everything: training on both devices at once, reports, sums, the new
version.

It needs PyTorch, for which ``make test-torch`` has an environment of its own, ``.venv-torch``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.accuracy import DEVICES, free_port_base
from benchmarks.report import Figure, Report
from fanlight.learning.datasets import NAMES
from fanlight.learning.torch_extra import has_torch

_LONGEST_RUN_S = 3600


class Run(NamedTuple):
    """What a demo came to: balanced accuracy of its last model, and the median of its rounds' seconds."""

    accuracy: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the exit code is 1 where a run fails."""
    options = _parse(arguments)
    if not has_torch():
        raise SystemExit("This benchmark needs PyTorch: make test-torch installs it, then add BIN=.venv-torch/bin.")
    name, words = options.dataset, ["--rounds", str(options.rounds), "--seed", str(options.seed)]
    alone = run(name, words)
    tuned = run(name, [*words, "--fine-tune", options.fine_tune])
    what = f"{name}, fine-tuned ({options.fine_tune})"
    accuracy = f"{what}: balanced accuracy, {options.rounds} rounds"
    figures = (
        Figure(accuracy, tuned.accuracy, "fraction", rival=alone.accuracy),
        Figure(f"{what}: a round", tuned.seconds, "s", rival=alone.seconds),
    )
    return Report("fine_tuning", figures).show(as_json=options.json)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fine_tuning", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", choices=NAMES, default="digits")
    parser.add_argument("--rounds", type=int, default=5, help="training rounds")
    parser.add_argument("--fine-tune", default="1", help="as of 'fanlight demo'")
    parser.add_argument("--seed", type=int, default=0, help="fixes how pictures are drawn and split")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    return parser.parse_args(arguments)


def run(name: str, words: Sequence[str]) -> Run:
    """A real demo on free ports, to its end.

    Raises:
        SystemExit: it failed, or a round was abandoned.
    """
    with tempfile.TemporaryDirectory(prefix="fanlight-fine-tuning-") as state:
        places = ["--port-base", str(free_port_base()), "--state", state, "--exit", "--json"]
        command = [sys.executable, "-m", "fanlight", "demo", "--dataset", name, "--devices", str(DEVICES)]
        done = subprocess.run(
            [*command, *places, *words], stdout=subprocess.PIPE, text=True, timeout=_LONGEST_RUN_S, check=False
        )
    if done.returncode != 0:
        raise SystemExit(f"{name}: the demo ended with exit code {done.returncode}: {done.stdout.strip()}")
    rounds = json.loads(done.stdout)["rounds"]
    return Run(rounds[-1]["balanced_accuracy_after"], statistics.median(entry["seconds"] for entry in rounds))


if __name__ == "__main__":
    sys.exit(main())
