"""How much memory, and how long, do the two servers take for the sum of many long reports?

Real processes; every member masks and uploads a report of its own. Memory is the peak resident set (VmHWM) at the end
of the round less what was resident when it was open and nobody had come: in vectors of a report's size. Seconds are
from the last receipt that main is shown until the sum is unmasked and the outcome signed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crowded import SERVERS, resident_mb
from benchmarks.federation import Federation, federation
from benchmarks.masked_rounds import Size, wait_until_open
from benchmarks.member_processes import members
from fanlight.errors import LocalError

_SPARE_BYTES = 5 << 30
_ENDING = (
    "SELECT state, participants, released_at, MAX(received_at)"
    " FROM rounds JOIN beacons ON beacons.mh = rounds.mh WHERE number = ?"
)


@dataclass(frozen=True)
class Seen:
    """What was seen of the sums of so many reports.

    Attributes:
        vector_mb: one report, in 10^6 bytes.
        idle_mb, peak_mb: of each server.
        seconds: of the end of a round, by how many cores both servers had together.
    """

    vector_mb: float
    idle_mb: dict[str, float]
    peak_mb: dict[str, float]
    seconds: dict[int, float]

    def vectors(self, server: str) -> float:
        """By how many vectors the peak is above what the idle server takes."""
        return (self.peak_mb[server] - self.idle_mb[server]) / self.vector_mb


def has_room(reports: int, parameters: int) -> bool:
    """Is there room on the disk for so many reports, and some more?"""
    return shutil.disk_usage(tempfile.gettempdir()).free > reports * 4 * parameters + _SPARE_BYTES


def watch_sums(reports: int, parameters: int, cores: Sequence[int]) -> Seen:
    """One round for each number of ``cores``; memory is that of all of them.

    Raises:
        LocalError: a round did not end with every report in its sum.
    """
    size = Size(reports, parameters)
    policy = {"k_min": reports, "n_max": max(1000, reports), "rounds": 0, "window_s": 36_000}
    with (
        tempfile.TemporaryDirectory(prefix="fanlight-sums-") as name,
        federation(Path(name), devices=0, features=size.features, classes=size.classes, policy=policy) as running,
        members(running, reports, size.features) as crowd,
    ):
        wait_until_open(running, 1)
        idle = resident_mb(running)
        seconds = {}
        for number, count in enumerate(cores, 1):
            wait_until_open(running, number)
            _confine(running, count)
            crowd.report()
            wait_until_open(running, number + 1)
            seconds[count] = _ending_s(running, number, reports)
        running.processes.measure()
        peak = running.processes.peak_rss_mb()
    return Seen(4 * parameters / 1e6, idle, {name: float(peak[name] or "nan") for name in SERVERS}, seconds)


def _ending_s(running: Federation, number: int, reports: int) -> float:
    ((state, participants, released_at, last),) = running.read(_ENDING, number)
    if (state, participants) != ("complete", reports):
        raise LocalError(f"round {number} is {state} with {participants} of {reports} reports")
    return float(released_at - last)


def _confine(running: Federation, count: int) -> None:
    """Let both servers, with all their threads, use ``count`` cores, the same ones (Linux)."""
    some = sorted(os.sched_getaffinity(0))[:count]
    for name in SERVERS:
        for thread in Path(f"/proc/{running.processes.running[name].popen.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), some)
