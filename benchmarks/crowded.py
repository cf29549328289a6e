"""A federation of two server processes with thousands of members, none of which is a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.crowd import Someone, enrol_crowd
from benchmarks.federation import Federation, federation, start_role, wait_for_all
from benchmarks.idle import FORGETFUL_VARIABLE

FEATURES, CLASSES = 1280, 10
SERVERS = ("main", "aggregator")


@contextmanager
def crowded_federation(
    folder: Path, members: int, *, k_min: int, forgetful: bool = False
) -> Iterator[tuple[Federation, list[Someone]]]:
    """Both servers, one round that ends as soon as ``k_min`` have reported, and the members, ends with the block.

    Args:
        folder: where the state is kept.
        members: how many there are.
        k_min: of the round.
        forgetful: the aggregator verifies and signs, and stores nothing.
    """
    policy = {
        "k_min": k_min,
        "n_max": members,
        "rounds": 1,
        "window_s": 3600,
        "expected_percent": max(1, 100 * k_min // members),
    }
    more = {FORGETFUL_VARIABLE: "1"} if forgetful else {}
    with federation(
        folder, devices=0, features=FEATURES, classes=CLASSES, policy=policy, start=False, more=more
    ) as running:
        crowd = enrol_crowd(folder / "federation", members)
        for name in SERVERS:
            start_role(running, name)
        wait_for_all(running, SERVERS)
        running.wait_until("main", "/api/v1/status", "round")
        yield running, crowd


def resident_mb(running: Federation) -> dict[str, float]:
    """What each server has in memory now, in 10^6 bytes (Linux)."""
    return _memory_mb(running, "VmRSS")


def most_resident_mb(running: Federation) -> dict[str, float]:
    """What each server had in memory at its most, in 10^6 bytes (Linux)."""
    return _memory_mb(running, "VmHWM")


def _memory_mb(running: Federation, what: str) -> dict[str, float]:
    return {name: _kib(running.processes.running[name].popen.pid, what) * 1024 / 1e6 for name in SERVERS}


def _kib(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))
