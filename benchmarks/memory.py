"""How much memory does each role take at most? Real processes, fresh state, peak resident set (VmHWM).

    make bench NAME=memory ARGS="--json"

*Devices*: a whole demonstration with two devices, each of which trains on 1,000 pictures of its own (shapes, 128 px;
two thirds as many are for validation and test), compiles the backbone, extracts features, trains, and reports in one
training and one measuring round.

*Servers*: a main server and a secure aggregator with a head of 51 kB, and 100 members that speak the real protocol over
HTTP with the device's own client: in each round every one fetches the model, reports, and shows main its receipt.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.accuracy import free_port_base
from benchmarks.federation import Federation, federation, issue_token
from benchmarks.idle import register
from benchmarks.report import Figure, Report
from benchmarks.shapes import draw

DEVICE_MB, SERVER_MB = 300, 150
"""Megabytes are 10^6 bytes."""
PICTURES, DEVICES, ROUNDS = 1_000, 100, 20
_FEATURES, _CLASSES = 1280, 10
_AT_ONCE = 8
_PATIENCE_S = 600.0
_DEMO_DEVICES = 2
_TRAIN_PERCENT = 60
"""Of a demonstration's pictures."""


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="for training, of each device")
    parser.add_argument("--devices", type=int, default=DEVICES, help="that report to the servers")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="in which they do")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    arguments = parser.parse_args()
    figures = servers(arguments.devices, arguments.rounds) + training_devices(arguments.pictures)
    return Report("memory", tuple(figures)).show(as_json=arguments.json)


# -- devices


def training_devices(pictures: int) -> list[Figure]:
    """The peak of each device of a demonstration.

    Raises:
        SystemExit: the demonstration failed.
    """
    with tempfile.TemporaryDirectory(prefix="fanlight-memory-") as name:
        folder = Path(name)
        draw(folder / "pictures", _DEMO_DEVICES * pictures * 100 // _TRAIN_PERCENT)
        words = ["demo", "--dataset", str(folder / "pictures"), "--devices", str(_DEMO_DEVICES), "--rounds", "1"]
        words += ["--port-base", str(free_port_base()), "--state", str(folder / "state"), "--exit", "--json"]
        command = [sys.executable, "-m", "fanlight", *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_PATIENCE_S, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the demo ended with exit code {done.returncode}: {done.stdout.strip()}")
        peaks = json.loads(done.stdout)["peak_rss_mb"]
    return [
        Figure(f"{device}, {pictures} training pictures", peaks[device], "MB", at_most=DEVICE_MB)
        for device in sorted(peaks)
        if device.startswith("device")
    ]


# -- servers


def servers(devices: int, rounds: int) -> list[Figure]:
    """The peak of each server after so many rounds."""
    register(_FEATURES)
    from benchmarks.member import Member

    policy = {"k_min": devices, "n_max": devices, "rounds": 0, "window_s": 3_600}
    with (
        tempfile.TemporaryDirectory(prefix="fanlight-memory-") as name,
        federation(Path(name), devices=0, features=_FEATURES, classes=_CLASSES, policy=policy) as running,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        members = list(pool.map(lambda number: Member(issue_token(running, f"device-{number}")), range(devices)))
        try:
            list(pool.map(Member.enrol, members))
            for number in range(1, rounds + 1):
                wait_for_round(running, number)
                list(pool.map(lambda member: member.report(), members))
            wait_for_round(running, rounds + 1)
        finally:
            for member in members:
                member.close()
        done = running.ask("main", "/api/v1/rounds")["rounds"]
        whole = [entry for entry in done if (entry["state"], entry["participants"]) == ("complete", devices)]
        running.processes.measure()
        peaks = running.processes.peak_rss_mb()
    what = f"after {len(whole)} rounds of {devices} devices"
    return [
        Figure("rounds with every report", len(whole), "rounds", at_least=rounds),
        *(Figure(f"{role}, {what}", peaks[role] or float("nan"), "MB", at_most=SERVER_MB) for role in sorted(peaks)),
    ]


def wait_for_round(running: Federation, number: int) -> None:
    """Wait until training round ``number`` is open.

    Raises:
        SystemExit: it takes too long.
        LocalError: a server has ended.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for death in running.processes.ended().values():
            raise death
        now = running.ask("main", "/api/v1/status")["round"]
        if now and (now["round"], now["state"]) == (number, "open"):
            return
        time.sleep(0.05)
    raise SystemExit(f"round {number} is not open: {running.ask('main', '/api/v1/status')}")


if __name__ == "__main__":
    sys.exit(main())
