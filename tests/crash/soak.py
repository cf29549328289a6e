"""Real processes of all roles, rounds by themselves, and for minutes everything that can go wrong.

    make soak MINUTES=30 ARGS=--json

Main server, aggregator and three devices that learn from pictures of shapes. Seeded disturbances come one after the
other, and each is undone within seconds: a process is killed (SIGKILL) or frozen (SIGSTOP); a server is started again
on another port; a clock jumps by a day; a server's line is cut (a TCP proxy stands in front of each: it closes every
connection and takes no new one), or dies without a word (the proxy takes whatever comes and hands nothing on, and what
was connected then stays dead: as behind a router that has forgotten it). Where root may, there are two more: a cable is
pulled (each proxy listens behind one, see ``cable``), so that packets are lost both ways; and a disk is full (each
role's state lies on a tmpfs of its own).

Every few minutes, and at the end, the task is paused and all that ``invariants`` knows must hold: sums, logs, one
release a round, nothing acknowledged lost, no traces. From half time on both servers and one device go on living (they
are frozen, cut off and misled, but not started again), and their memory must stay flat. Exit code 1 on any violation;
the seed is printed, and draws the same disturbances again, though not at the same moments.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from fanlight.learning.datasets import prepare
from fanlight.services.http.sessions import API_TOKEN_FILE
from tests.crash.cable import Cable, laid, own_network
from tests.crash.federation import SERVERS, Federation
from tests.crash.full_disk import fill, small_disk
from tests.crash.invariants import Invariants
from tests.crash.role import HOST, until
from tests.cutting_proxy import CuttingProxy
from tests.e2e.terminals import free_ports
from tests.requirements import laying_cables, mounting_tmpfs

DEVICES: Final = 3
DAY_S: Final = 86_400
CHECK_EVERY_S: Final = 180.0
LONGEST_STALL_S: Final = 60.0
"""From the end of a disturbance to the end of the next complete round: beyond it, a round is stuck."""
LASTING: Final = (*SERVERS, "device-1")
"""Who is not started again in the second half."""
OF_EVERYBODY: Final = ("kill", "freeze", "clock", "full disk")
"""What happens to devices, too; the lines are those of the servers."""
SLACK_MB: Final = 25.0
"""By so much may the memory of one that lives on grow, from the first quarter of the second half to the last."""
MOST_DISK_MB: Final = 200.0
DISK: Final = "256m"


@dataclass
class Soak:
    """One run.

    Args:
        folder: an empty one.
        seed: draws the disturbances.
    """

    folder: Path
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    rounds: Counter[str] = field(default_factory=Counter)
    disk: dict[str, float] = field(default_factory=dict)
    longest_stall_s: float = 0.0
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._around = ExitStack()
        self._cables: dict[str, Cable] = {}
        if laying_cables():
            self._cables = {name: self._around.enter_context(laid(number)) for number, name in enumerate(SERVERS)}
        self._found_at = {
            name: (self._cables[name].host if self._cables else HOST, port)
            for name, port in zip(SERVERS, free_ports(len(SERVERS)), strict=True)
        }
        pictures = tuple(prepare("shapes", DEVICES, 0, self.folder / "pictures").device_folders)
        policy = {"by_itself": True, "wait_s": 10, "window_s": 60}
        self.federation = Federation(self.folder, pictures, self._found_at, **policy)
        # processes are forked from one not yet there
        os.environ["FANLIGHT_DEVICE_ANSWERS_PER_DAY"] = "100000"
        os.environ["NO_PROXY"] = ",".join(host for host, _ in self._found_at.values())
        self._invariants = Invariants(self.federation)
        self._lines: dict[str, CuttingProxy] = {}
        self._has_disks = mounting_tmpfs() is not None
        self._complete = 0
        self._lasting: tuple[str, ...] = ()

    # -- the run

    def run(self, seconds: float) -> None:
        """Disturb for so long; AssertionError where something does not hold."""
        try:
            self._start()
            began = time.monotonic()
            end, half_time, check_at = began + seconds, began + seconds / 2, began + CHECK_EVERY_S
            while time.monotonic() < end:
                if not self._lasting and time.monotonic() > half_time:
                    self._lasting = LASTING
                self._rest()
                self._disturb()
                self._go_on()
                if time.monotonic() > check_at:
                    self.check()
                    check_at = time.monotonic() + CHECK_EVERY_S
            self.check()
            self._check_sizes()
        finally:
            self.close()

    def close(self) -> None:
        """End all, and take away what was set up for it."""
        self.federation.close()
        for line in self._lines.values():
            line.stop()
        self._around.close()

    def _start(self) -> None:
        for role in self.federation.roles.values():
            role.state.mkdir(exist_ok=True)
            if self._has_disks:
                self._around.enter_context(small_disk(role.state, DISK))
        for name in SERVERS:
            self._join(name)
        for role in self.federation.roles.values():
            role.start()
        until(lambda: self.results()["complete"] > 0, "the first round is complete", self.federation.summary)

    def _rest(self) -> None:
        """A breath without new rounds, or half an hour would be ten thousand; then rounds are under way again."""
        self._pause(paused=True)
        time.sleep(self._random.uniform(0.5, 2))
        self._pause(paused=False)
        self._watch(self._random.uniform(0.5, 2))
        self._forget()

    def _go_on(self) -> None:
        """All is undone: the next round must be complete, soon."""
        before, since = self._complete, time.monotonic()
        while self._complete <= before:
            self._watch(0.25)
            self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - since)
            assert time.monotonic() - since < LONGEST_STALL_S, f"rounds do not go on\n{self.federation.summary()}"

    def _forget(self) -> None:
        """Of all that was heard, keep what ``invariants`` asks for: the rest is most of it."""
        for name, role in self.federation.roles.items():
            kinds = ("answer", "request") if name == "aggregator" else ("answer",)
            role.heard[:] = [
                event
                for event in role.events()
                if event["kind"] not in ("answer", "request", "signed", "point")
                or (event["kind"] in kinds and (name == "aggregator" or "/rounds/" in event["path"]))
            ]

    def _disturb(self) -> None:
        kinds: dict[str, Callable[[str], None]] = {
            "kill": self._kill, "freeze": self._freeze, "cut": self._cut, "silence": self._silence,
            "move": self._move, "clock": self._shift,
        }  # fmt: skip
        if self._has_disks:
            kinds["full disk"] = self._fill
        if self._cables:
            kinds["pulled cable"] = self._pull
        everybody = tuple(self.federation.roles)
        whom = {kind: everybody if kind in OF_EVERYBODY else SERVERS for kind in kinds}
        for kind in ("kill", "move"):
            whom[kind] = tuple(name for name in whom[kind] if name not in self._lasting)
        kind = self._random.choice([kind for kind in kinds if whom[kind]])
        name = self._random.choice(whom[kind])
        self.counts[kind] += 1
        self._say(f"{kind} {name}")
        kinds[kind](name)

    def check(self) -> None:
        """Let the open round end, look at everything, go on."""
        self._say("check")
        self._pause(paused=True)
        until(self._is_quiet, "all rounds are over everywhere", self.federation.summary)
        self._invariants.check()
        self.checks, self.rounds, self.disk = self.checks + 1, self.results(), self.disk_mb()
        self._pause(paused=False)

    # -- what goes wrong

    def _kill(self, name: str) -> None:
        role = self.federation.roles[name]
        role.kill()
        time.sleep(self._random.uniform(0, 2))
        role.start()

    def _freeze(self, name: str) -> None:
        process = self.federation.roles[name].process
        assert process is not None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(self._random.uniform(0.5, 4))
        os.kill(process.pid, signal.SIGCONT)

    def _cut(self, name: str) -> None:
        self._lines[name].stop()
        time.sleep(self._random.uniform(0.2, 4))
        self._join(name)

    def _silence(self, name: str) -> None:
        line = self._lines[name]
        line.silent = True
        time.sleep(self._random.uniform(0.2, 4))
        line.forget()
        line.silent = False

    def _pull(self, name: str) -> None:
        self._cables[name].pull()
        time.sleep(self._random.uniform(0.2, 4))
        self._cables[name].plug()

    def _move(self, name: str) -> None:
        role = self.federation.roles[name]
        self._lines[name].stop()
        role.kill()
        role.port = free_ports(1)[0]
        role.start()
        self._join(name)

    def _shift(self, name: str) -> None:
        role = self.federation.roles[name]
        role.command("shift", float(self._random.choice((DAY_S, -DAY_S))))
        self._watch(self._random.uniform(1, 4))
        role.command("shift", 0.0)

    def _fill(self, name: str) -> None:
        filler = fill(self.federation.roles[name].state)
        try:
            time.sleep(self._random.uniform(1, 4))
        finally:
            filler.unlink()

    def _join(self, name: str) -> None:
        """Let the others reach a server again."""
        _, port = self._found_at[name]
        self._lines[name] = CuttingProxy(self.federation.roles[name].port, port=port)
        self._lines[name].start(self._cables[name].listen(port) if self._cables else None)

    # -- what is seen

    def results(self) -> Counter[str]:
        """How many rounds ended how; none while the main server does not answer."""
        answer = self.federation.ask("main", "/api/v1/rounds")
        return Counter(entry["state"] for entry in answer["rounds"]) if answer else Counter()

    def _watch(self, seconds: float) -> None:
        """Look at rounds and memory for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.25)
            for role in self.federation.roles.values():
                assert role.is_running, f"{role.name} has ended by itself:\n{role.output()}"
                assert role.process is not None
                if role.name in self._lasting:
                    self.memory[role.name].append(_rss_mb(role.process.pid))
            self._complete = max(self._complete, self.federation.version() or 0)

    def _is_quiet(self) -> bool:
        at = [self.federation.ask(name, "/api/v1/status") for name in SERVERS]
        if not all(at) or not all(status["round"] for status in at):
            return False
        over = at[0]["round"]["state"] in ("complete", "abandoned") and at[1]["round"]["state"] != "collecting"
        told = [self.federation.ask(name, "/api/v1/learning") for name in self.federation.devices]
        return over and all(answer and all(line["result"] for line in answer["rounds"]) for answer in told)

    def _pause(self, *, paused: bool) -> None:
        role = self.federation.roles["main"]

        def done() -> bool:
            token = (role.state / API_TOKEN_FILE).read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            try:
                url = f"http://{HOST}:{role.port}/api/v1/policy"
                return httpx.put(url, json={"paused": paused}, headers=headers, trust_env=False).is_success
            except httpx.HTTPError:
                return False

        until(done, "the task is paused or goes on", self.federation.summary)

    def _check_sizes(self) -> None:
        for name, (first, last) in self.growth().items():
            assert last <= first + SLACK_MB, f"{name} grew from {first} MB to {last} MB"
        for name, size in self.disk.items():
            assert size <= MOST_DISK_MB, f"{name} keeps {size} MB"

    def growth(self) -> dict[str, tuple[float, float]]:
        """Median memory of each that lived on, in the first and in the last quarter of the second half, MB."""
        found = {}
        for name, seen in self.memory.items():
            quarter = max(1, len(seen) // 4)
            found[name] = (round(statistics.median(seen[:quarter]), 1), round(statistics.median(seen[-quarter:]), 1))
        return found

    def disk_mb(self) -> dict[str, float]:
        """What each role keeps, MB."""
        return {
            name: round(sum(path.stat().st_size for path in role.state.rglob("*") if path.is_file()) / 1e6, 1)
            for name, role in self.federation.roles.items()
        }

    def _say(self, what: str) -> None:
        print(
            f"\r{time.strftime('%H:%M:%S')}  {self._complete} rounds  {what:<24}", end="", file=sys.stderr, flush=True
        )


def _rss_mb(pid: int | None) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(seconds: float, seed: int, folder: Path) -> dict[str, Any]:
    """Run; what was seen, and under ``violation`` what did not hold, or None."""
    run, violation = Soak(folder, seed), None
    try:
        run.run(seconds)
    except AssertionError as error:
        violation = str(error)
    return {
        "seed": seed,
        "seconds": seconds,
        "disturbances": dict(run.counts),
        "rounds": dict(run.rounds),
        "checks": run.checks,
        "longest_stall_s": round(run.longest_stall_s, 1),
        "memory_mb": run.growth(),
        "disk_mb": run.disk,
        "violation": violation,
    }


def main() -> int:
    """Parse, soak, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", action="store_true", help="the summary as one JSON line")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    cables = laying_cables()
    for kind, possible in (("full disks", mounting_tmpfs()), ("pulled cables", cables)):
        if not possible:
            print(f"left out here: {kind} (see tests/requirements.py)", file=sys.stderr)
    network = own_network() if cables else nullcontext()
    with network, tempfile.TemporaryDirectory(prefix="fanlight-soak-") as folder:
        summary = soak(60 * options.minutes, options.seed, Path(folder))
    print(json.dumps(summary) if options.json else "\n".join(f"{key}: {value}" for key, value in summary.items()))
    return 1 if summary["violation"] else 0


if __name__ == "__main__":
    sys.exit(main())
