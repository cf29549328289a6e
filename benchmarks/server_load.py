"""How much do the two servers bear? Real processes on loopback, and this one as all the devices.

    make bench NAME=server_load ARGS="--json"

*A round*: 2,000 enrolled devices wait for news in long-polls at the main server, and go on doing so; 500 of them come
one after the other, within ``--seconds``: each asks for the offer, with which the model (51 kB) comes along, hands in
its report, shows its receipt, and asks how the round has ended, for which it then waits in a long-poll of its own.
Small requests are the first, third and fourth. The round ends by itself, everybody gets the new model (those who
reported, how the round ended), and it must be exactly what the 500 reports add up to.

*All at once*: the same, whose reporters all come in the moment in which they could, as if nobody trained: the hardest
case, held to the same limits.

*Long-polls*: as many more as make 5,000, doing nothing; memory is read while they wait.

*Reports a second*: 500 reports as fast as the aggregator takes them, over 32 connections, while all 2,000 wait for news
at the main server. The rival is the same aggregator, asked in the same way, that verifies and signs as before, but
stores nothing. Medians count.

All requests are real and signed; reports are prepared beforehand. Errors of any kind are counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.crowded import crowded_federation, most_resident_mb, resident_mb
from benchmarks.devices_at_once import Devices, Seen, percentile
from benchmarks.report import Figure, Report
from fanlight.cli.serve import allow_many_connections

MEMBERS, REPORTERS, POLLS = 2_000, 500, 5_000
P99_MS, RATE, SHARE, POLLS_MB = 250, 1_000, 0.6, 200
_SMALL = ("offer", "beacon", "awaiting")


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=MEMBERS, help="that wait for news")
    parser.add_argument("--reporters", type=int, default=REPORTERS, help="of them, who report")
    parser.add_argument("--polls", type=int, default=POLLS, help="that do nothing")
    parser.add_argument("--seconds", type=float, default=10, help="in which the reporters come")
    parser.add_argument(
        "--repeat", type=int, default=3, help="how often reports a second are measured; the median counts"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    given = parser.parse_args()
    allow_many_connections()
    figures = report_rates(given.members, given.reporters, given.repeat)
    figures += round_under_load(given.members, given.reporters, given.polls, given.seconds)
    figures += all_at_once(given.members, given.reporters)
    return Report("server_load", tuple(figures)).show(as_json=given.json)


def report_rates(members: int, count: int, repeat: int) -> list[Figure]:
    """Reports a second of an aggregator that stores them, and of one that does not, by turns."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for forgetful in (False, True) * repeat:
        with (
            tempfile.TemporaryDirectory(prefix="fanlight-load-") as name,
            crowded_federation(Path(name), members, k_min=count, forgetful=forgetful) as (running, crowd),
        ):
            rates[forgetful].append(uvloop.run(Devices(running, crowd).report_at_once(count)))
    ours, rival = statistics.median(rates[False]), statistics.median(rates[True])
    return [
        Figure(f"{count} reports at once, median of {repeat}", ours, "1/s", at_least=RATE, rival=rival),
        Figure("the same, best", max(rates[False]), "1/s"),
        Figure("share of an aggregator that stores nothing", ours / rival, "", at_least=SHARE),
    ]


def round_under_load(members: int, reporters: int, polls: int, seconds: float) -> list[Figure]:
    """A round, and idle long-polls."""
    seen, before, most = _live_through(members, reporters, polls, seconds)
    small = seen.milliseconds(*_SMALL)
    return [
        Figure("errors", float(sum(seen.errors.values())), "", at_most=0),
        Figure("reports in the sum", seen.participants, "", at_least=reporters),
        Figure("parameters that are not their sum", seen.wrong_parameters, "", at_most=0),
        Figure(f"{len(small)} small requests, median", percentile(small, 50), "ms"),
        Figure(f"{len(small)} small requests, p99", percentile(small, 99), "ms", at_most=P99_MS),
        Figure("reports, p99", percentile(seen.milliseconds("report"), 99), "ms"),
        Figure("from the last beacon to the new model", seen.ending_s, "s"),
        Figure("until all who waited had it", seen.waking_s, "s"),
        Figure("main server, before anybody came", before["main"], "MB"),
        Figure(f"main server, while {polls} long-polls wait", seen.memory["main"], "MB", at_most=POLLS_MB),
        Figure("main server, at its most", most["main"], "MB"),
        Figure("aggregator, before", before["aggregator"], "MB"),
        Figure("aggregator, at its most", most["aggregator"], "MB"),
        Figure("processor time of the load, share of a core", seen.own_share, ""),
    ]


def all_at_once(members: int, reporters: int) -> list[Figure]:
    """A round whose reporters all come at the same moment."""
    seen, _, _ = _live_through(members, reporters, 0, 0.0)
    return [
        Figure("all at once: errors", float(sum(seen.errors.values())), "", at_most=0),
        Figure("all at once: parameters that are not their sum", seen.wrong_parameters, "", at_most=0),
        Figure("all at once: small requests, p99", percentile(seen.milliseconds(*_SMALL), 99), "ms", at_most=P99_MS),
        Figure(f"all at once: until the last of {reporters} had reported", seen.taking_part_s, "s"),
    ]


def _live_through(
    members: int, reporters: int, polls: int, seconds: float
) -> tuple[Seen, dict[str, float], dict[str, float]]:
    """What the devices saw of a round, and the servers' resident memory in MB before it and at its most."""
    with (
        tempfile.TemporaryDirectory(prefix="fanlight-load-") as name,
        crowded_federation(Path(name), members, k_min=reporters) as (running, crowd),
    ):
        before = resident_mb(running)
        devices = Devices(running, crowd)
        seen = uvloop.run(devices.live_through_a_round(reporters, seconds, polls, lambda: resident_mb(running)))
        most = most_resident_mb(running)
    for error, times in seen.errors.items():
        print(f"{times} times: {error}", file=sys.stderr)
    return seen, before, most


if __name__ == "__main__":
    sys.exit(main())
