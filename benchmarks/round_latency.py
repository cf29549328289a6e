"""How long is a round when devices have nothing to do? Real processes on loopback, split trust included.

    make bench NAME=round_latency ARGS="--json"
    make bench NAME=round_latency ARGS="--rounds 50"

Main server, secure aggregator and two devices are processes of their own, started by the program's own commands; only
the learning is replaced (``benchmarks/idle.py``). Rounds run by themselves. A round's time is from the opening of its
manifest to the opening of the next one: propose, sign twice, mask, upload, close, verdict, release, outcome, publish,
fetch the new model. The first two rounds are not counted (start-up, first connections).

Every reply is durable before it leaves, so a round waits for several fsyncs in a row: what one takes here is printed.
So is what a fixed piece of Python takes on all cores at once, before and after: on a machine that is shared, two cores
are not always two.
The rival is Flower, without secure aggregation, right after ours, where ``make bench-flower`` has installed it (two
minutes more; not ``--alone``).
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.federation import LIMIT_S, Federation, Rows, federation
from benchmarks.peers import flower
from benchmarks.report import Figure, Report

SMALL = (49, 2)
"""Features and classes of a head with 100 parameters."""
LARGE = (34_999, 100)
"""The same, with 3,500,000."""
LIMITS_S = {"100 parameters": 0.05, "3.5M parameters": 0.4}
PYTHON = "Python on all cores at once"
_LEFT_OUT = 2
_FSYNCS = 50
_LOOPS = 101
_LOOK_S = 0.1


def fsync_ms(folder: Path) -> float:
    """Median milliseconds of one fsync of 4 KiB that were appended to a file in ``folder``."""
    times = []
    with (folder / "fsync").open("ab", buffering=0) as file:
        for _ in range(_FSYNCS):
            file.write(bytes(4096))
            before = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e3


def python_ms() -> float:
    """Median milliseconds of a fixed piece of Python, 10,000 times round, on the slowest of all cores at once."""
    with ProcessPoolExecutor(os.cpu_count()) as cores:
        return max(cores.map(_python_ms, range(os.cpu_count() or 1)))


def _python_ms(_core: int) -> float:
    times = []
    for _ in range(_LOOPS):
        before = time.perf_counter()
        counts: dict[str, int] = {}
        for number in range(10_000):
            last = str(number % 100)
            counts[last] = counts.get(last, 0) + 1
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e3


def round_seconds(folder: Path, size: tuple[int, int], rounds: int) -> list[float]:
    """Seconds from each round's opening to the next one's."""
    features, classes = size
    policy = {"rounds": rounds + _LEFT_OUT + 1}
    with federation(folder, devices=2, features=features, classes=classes, policy=policy) as running:
        found = _all_over(running, policy["rounds"])
    opened = [opened_at for _, opened_at in found]
    states = {state for state, _ in found}
    if states != {"complete"}:
        raise SystemExit(f"not every round was completed: {sorted(states)}")
    return [after - before for before, after in itertools.pairwise(opened)][_LEFT_OUT:]


def _all_over(running: Federation, rounds: int) -> Rows:
    """State and opening of all ``rounds`` rounds, once they are over; the servers are not asked, which would slow them.

    Raises:
        LocalError: a process has ended. SystemExit: it takes too long.
    """
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for death in running.processes.ended().values():
            raise death
        found = running.read("SELECT state, opened_at FROM rounds WHERE ended_at IS NOT NULL ORDER BY number")
        if len(found) >= rounds:
            return found
        time.sleep(_LOOK_S)
    raise SystemExit(f"after {LIMIT_S:.0f} s only {len(found)} of {rounds} rounds are over")


def measure(rounds: int, *, alone: bool) -> Report:
    """Both sizes; ``alone``: without the rival."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures.append(Figure("fsync, median", fsync_ms(folder), "ms"))
        figures.append(Figure(PYTHON, python_ms(), "ms"))
        for title, size, count in (
            ("100 parameters", SMALL, rounds),
            ("3.5M parameters", LARGE, max(5, rounds // 3)),
        ):
            place = folder / title.replace(" ", "-")
            place.mkdir()
            seconds = round_seconds(place, size, count)
            median = statistics.median(seconds)
            beside = flower.is_here() and not alone
            rival = statistics.median(flower.round_seconds(flower.SIZES[title])) if beside else None
            figures.append(
                Figure(f"round, {title}, median of {len(seconds)}", median, "s", at_most=LIMITS_S[title], rival=rival)
            )
            figures.append(Figure(f"round, {title}, slowest", max(seconds), "s"))
        figures.append(Figure(f"{PYTHON}, afterwards", python_ms(), "ms"))
    return Report("round_latency", tuple(figures))


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="rounds to measure with few parameters")
    parser.add_argument("--alone", action="store_true", help="do not run Flower as well")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    arguments = parser.parse_args()
    return measure(arguments.rounds, alone=arguments.alone).show(as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
