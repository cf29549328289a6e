"""How soon does a round go on after ``kill -9``, and when does a round end that waits for the dead?

    make bench NAME=recovery ARGS="--json"

Main server, aggregator and devices are processes of their own, started by the program's own commands; only the learning
is replaced (``benchmarks/idle.py``). Rounds run by themselves, one after the other, so a kill at any moment hits one in
the middle. Time counts from the command that starts the killed process again (interpreter and imports included) to the
next change of the main server's rounds in its database. The round that was hit must end complete.

A long outage: the main server is away for a minute, and whoever asks for it comes more seldom, but every few seconds
as long as a round waits. Time counts from its start to the end of the next complete round. How many of the next
rounds are complete is counted as well; the rival is Flower, whose server is killed in the middle of a run and started
again at once: how many of the rounds still left to it ever end.

A dead device: three devices, one of them is killed and stays dead. Rounds then end as soon as the policy is content;
where it cannot be, because three reports are demanded, at the end of their window. Who dies while waiting for news is
missed at once, who dies at work when ``PRESENT_S`` seconds have passed without a word; the round of the kill counts,
too. A device that is frozen, so that its connections stand, is waited for as long as the policy says. The rival is the
longest round of Flower with one of two nodes killed. Flower runs where ``make bench-flower`` has installed it (not
``--alone``).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.federation import Federation, Rows, federation
from benchmarks.peers import flower
from benchmarks.report import Figure, Report
from fanlight.learning.datasets.chance import Chance
from fanlight.services.device.knocks import AWAITED_S
from fanlight.services.main_server.presence import PRESENT_S

VICTIMS = ("main", "aggregator", "device-1")
LIMIT_S = 2.0
"""From the start command to the round going on."""
GRACE_S = 1.0
"""How much later than its deadline a round may be seen to end, on a machine that does other work as well."""
OUTAGE_LIMIT_S = LIMIT_S + AWAITED_S + GRACE_S
"""A device that is awaited comes within ``AWAITED_S``, the aggregator within five seconds."""
WAIT_S, WINDOW_S = 2, 3
_STILL_S = 0.3
_TICK_S = 0.002
_TOO_LONG_S = 120.0
_WARM_UP = 3
_ROUNDS = "SELECT number, state, opened_at, judged_at, released_at, ended_at, hex(record) FROM rounds ORDER BY number"
_REPORTERS = "SELECT COUNT(DISTINCT dev) FROM beacons"

Rounds = Rows


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="of each role")
    parser.add_argument("--away", type=float, default=60, help="seconds of the long outage")
    parser.add_argument("--rounds", type=int, default=5, help="to watch with a device that is dead")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which roles are killed")
    parser.add_argument("--alone", action="store_true", help="do not run Flower as well")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    arguments = parser.parse_args()
    figures = measure_kills(arguments.kills, arguments.seed)
    has_rival = flower.is_here() and not arguments.alone
    figures += measure_outage(arguments.away, flower.dead_server() if has_rival else None)
    figures += measure_dead_device(arguments.rounds, flower.dead_node_seconds() if has_rival else None)
    return Report("recovery", tuple(figures)).show(as_json=arguments.json)


@contextmanager
def at_work(devices: int, **policy: Any) -> Iterator[Federation]:
    """A federation whose rounds follow one another."""
    with (
        tempfile.TemporaryDirectory(prefix="fanlight-recovery-") as folder,
        federation(Path(folder), devices=devices, features=49, classes=2, policy={"rounds": 0, **policy}) as running,
    ):
        wait_for(running, lambda: len(completed(rounds_of(running))) >= _WARM_UP, "the first rounds are complete")
        wait_for(running, lambda: running.read(_REPORTERS) == [(devices,)], "every device has reported")
        yield running


# -- kill -9


def measure_kills(kills: int, seed: int) -> list[Figure]:
    """Kill each role again and again; the slowest recovery of each, and what became of all rounds."""
    chance, figures = Chance("recovery", seed), []
    with at_work(2) as running:
        for victim in VICTIMS:
            seconds = []
            for _ in range(kills):
                time.sleep(chance.uniform(0.05, 0.3))
                seconds.append(recover(running, victim))
            figures.append(Figure(f"{victim} killed {kills} times, slowest", max(seconds), "s", at_most=LIMIT_S))
            figures.append(Figure(f"{victim} killed, fastest", min(seconds), "s"))
        states = [row[1] for row in rounds_of(running)]
    figures.append(Figure("rounds complete", states.count("complete"), "rounds"))
    figures.append(Figure("rounds abandoned", states.count("abandoned"), "rounds", at_most=0))
    return figures


def recover(running: Federation, victim: str) -> float:
    """Kill ``victim`` and start it again: seconds from the command to the next change; the round then ends."""
    kill(running, victim)
    before = still(running)
    started = time.monotonic()
    running.processes.start_again(victim)
    wait_for(running, lambda: rounds_of(running) != before, f"the round goes on after {victim} was killed")
    seconds = time.monotonic() - started
    count = len(completed(before))
    wait_for(running, lambda: len(completed(rounds_of(running))) > count + 1, f"rounds go on without {victim}'s death")
    return seconds


def kill(running: Federation, victim: str) -> None:
    """End a process as if by ``kill -9``."""
    process = running.processes.running[victim].popen
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measure_outage(away_s: float, rival: flower.DeadServer | None) -> list[Figure]:
    """The main server dead for so long: how soon after its start has a round been completed, and do others follow?

    As many are waited for as Flower's run had left when its server was killed.
    """
    left = rival.left if rival else flower.ROUNDS
    with at_work(2) as running:
        kill(running, "main")
        before = still(running)
        count, first = len(completed(before)), 1 + max(row[0] for row in before if row[5] is not None)
        time.sleep(away_s)
        started = time.monotonic()
        running.processes.start_again("main")
        wait_for(running, lambda: len(completed(rounds_of(running))) > count, "a round is complete after the outage")
        seconds = time.monotonic() - started
        wait_for(running, lambda: len(over(running, first)) >= left, "rounds go on after the outage")
        after = completed(over(running, first)[:left])
    name = f"main away for {away_s:g} s: until a round is complete"
    if rival:
        print(f"Flower says of its run, whose server was killed and started again: {rival.state}", file=sys.stderr)
    return [
        Figure(name, seconds, "s", at_most=OUTAGE_LIMIT_S),
        Figure(
            "main killed: rounds complete of as many as Flower's run had left",
            len(after),
            "rounds",
            at_least=left,
            rival=rival.after if rival else None,
        ),
    ]


def still(running: Federation) -> Rounds:
    """The rounds, as soon as nothing changes any more: what was under way has stopped at whoever is dead.

    Raises:
        SystemExit: rounds go on as if nobody had died.
    """
    deadline, rounds = time.monotonic() + _TOO_LONG_S, rounds_of(running)
    while time.monotonic() < deadline:
        time.sleep(_STILL_S)
        before, rounds = rounds, rounds_of(running)
        if rounds == before:
            return rounds
    raise SystemExit("rounds go on although one process they need is dead")


# -- a device that is dead


def measure_dead_device(rounds: int, rival: float | None) -> list[Figure]:
    """The longest round of each kind, against when it had to end, and the rival's with a dead node."""
    content = longest(rounds, signal.SIGKILL, wait_s=600, window_s=600)
    waited = longest(rounds, signal.SIGSTOP, wait_s=WAIT_S, window_s=600)
    enough = longest(rounds, signal.SIGSTOP, wait_s=600, window_s=600, expected_percent=60)
    passed = longest(rounds, signal.SIGKILL, k_min=3, window_s=WINDOW_S)
    return [
        Figure(
            "one of three dead, two are enough: longest round", content, "s", at_most=PRESENT_S + GRACE_S, rival=rival
        ),
        Figure("one of three frozen, 60 % are enough: longest round", enough, "s", at_most=GRACE_S),
        Figure(f"one of three frozen, waits {WAIT_S} s: longest round", waited, "s", at_most=WAIT_S + GRACE_S),
        Figure(f"one too few, window {WINDOW_S} s: longest round", passed, "s", at_most=WINDOW_S + GRACE_S),
    ]


def longest(rounds: int, end: signal.Signals, **policy: Any) -> float:
    """Stop the third device for ever; the longest of the rounds from the one that was open then on."""
    with at_work(3, **policy) as running:
        process = running.processes.running["device-3"].popen
        os.killpg(process.pid, end)
        if end is signal.SIGKILL:
            process.wait()
            running.processes.leave_out("device-3")
        first = rounds_of(running)[-1][0]
        wait_for(running, lambda: len(over(running, first)) >= rounds, "rounds end without device-3")
        seconds = max(row[5] - row[2] for row in over(running, first)[:rounds])
        if end is signal.SIGSTOP:
            os.killpg(process.pid, signal.SIGCONT)
        return float(seconds)


def over(running: Federation, first: int) -> Rounds:
    """The rounds from number ``first`` on that have ended."""
    return [row for row in rounds_of(running) if row[0] >= first and row[5] is not None]


# -- what is so


def rounds_of(running: Federation) -> Rounds:
    """All rounds as the main server's database has them, oldest first; the server may be dead."""
    return running.read(_ROUNDS)


def completed(rounds: Rounds) -> Rounds:
    """Those with a sum."""
    return [row for row in rounds if row[1] == "complete"]


def wait_for(running: Federation, found: Callable[[], bool], what: str) -> None:
    """Look until it is so.

    Raises:
        SystemExit: it takes too long.
        LocalError: a process has ended by itself.
    """
    deadline = time.monotonic() + _TOO_LONG_S
    while not found():
        for death in running.processes.ended().values():
            raise death
        if time.monotonic() > deadline:
            raise SystemExit(f"it never happened: {what}")
        time.sleep(_TICK_S)


if __name__ == "__main__":
    sys.exit(main())
