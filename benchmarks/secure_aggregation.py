"""What does secure aggregation cost, beside plain sums and beside Flower's SecAgg+? Real processes on loopback.

    make bench-flower                       # once: makes the rival's environment
    make bench NAME=secure_aggregation ARGS="--json"
    make bench NAME=secure_aggregation ARGS="--only rounds"
    make bench NAME=secure_aggregation ARGS="--only servers --long"

*rounds*: 30 devices with a million parameters, none or 9 of them dropping out, against Flower's SecAgg+ with all
clients as neighbours and with 9 shares, measured in the same run if its environment is there (``masked_rounds``,
``peers/flower_secagg``).

*plain*: the same rounds with vectors that nobody masks (``plain``): what secure aggregation costs is the ratio.

*wire*: bytes that a device sends in a round, heads of HTTP included, by parameters; as they are, and packed.

*device*: a report of 3.5M parameters, against one pass of AES-256-CTR and one of SHA-256 (``masking_cost``).

*servers*: memory and seconds of the sum of 10, 100 and (``--long``, if the disk has room) 1,000 reports of 3.5M
(``report_memory``).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks import masking_cost, report_memory
from benchmarks.crowded import SERVERS
from benchmarks.masked_rounds import Seen, Size, watch_rounds
from benchmarks.peers import flower_secagg
from benchmarks.report import Figure, Report

PARTS = ("rounds", "plain", "wire", "device", "servers")
TIMES_FASTER = {"full graph": 15.0, "9 shares": 6.0}
SHARES = 9
COST_OVER_PLAIN = 1.6
BYTES_PER_PARAMETER = {0: 4.02, 16: 3.3, 10: 2.6}
"""By the width of packed updates; 0 = not packed."""
PASSES = 4.0
VECTORS = 3.0
DROPOUTS = (0.0, 0.3)


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        devices, parameters: of a round. rounds, rival_rounds: how many of ours, and of Flower's (the first one of which
            does not count).
        long_parameters: of a long report. reports: how many of them are summed.
        repeat: how often a report is made on the device; the fastest counts.
    """

    devices: int = 30
    parameters: int = 1_000_000
    rounds: int = 5
    rival_rounds: int = 3
    long_parameters: int = 3_500_000
    reports: tuple[int, ...] = (10, 100)
    repeat: int = 9


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part; may be given several times")
    parser.add_argument("--rounds", type=int, default=Scale.rounds, help="of ours, of each kind; the median counts")
    parser.add_argument("--long", action="store_true", help="1,000 long reports as well: 14 GB of disk, many minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON line as well")
    given = parser.parse_args()
    scale = Scale(rounds=given.rounds, reports=(10, 100, 1_000) if given.long else (10, 100))
    return measure(scale, given.only or PARTS).show(as_json=given.json)


def measure(scale: Scale, parts: list[str] | tuple[str, ...]) -> Report:
    """All figures of the named parts."""
    figures: list[Figure] = []
    masked = watch_rounds(Size(scale.devices, scale.parameters), scale.rounds) if {"rounds", "plain"} & {*parts} else []
    if "rounds" in parts:
        figures += rounds(scale, masked)
    if "plain" in parts:
        figures += over_plain(scale, masked)
    if "wire" in parts:
        figures += wire(scale)
    if "device" in parts:
        figures += device(scale)
    if "servers" in parts:
        for count in scale.reports:
            figures += servers(count, scale.long_parameters)
    return Report("secure_aggregation", tuple(figures))


def rounds(scale: Scale, masked: list[Seen]) -> list[Figure]:
    """Ours and Flower's, with and without dropouts."""
    if not flower_secagg.is_here():
        print("Flower is not measured: 'make bench-flower' makes its environment.", file=sys.stderr)
    figures = []
    for share in DROPOUTS:
        dropouts = round(share * scale.devices)
        size = Size(scale.devices, scale.parameters, dropouts)
        seen = watch_rounds(size, scale.rounds) if dropouts else masked
        ours = statistics.median(one.whole_s for one in seen)
        title = f"{scale.devices} devices, {dropouts} drop out"
        ending = statistics.median(one.ending_s for one in seen)
        figures.append(Figure(f"{title}: after the last report", ending, "s"))
        figures += _against_flower(scale, title, dropouts, ours)
    return figures


def _against_flower(scale: Scale, title: str, dropouts: int, ours: float) -> list[Figure]:
    if not flower_secagg.is_here():
        return [Figure(f"{title}: whole round", ours, "s")]
    figures = []
    for graph, shares in (("full graph", scale.devices), (f"{SHARES} shares", SHARES)):
        found = flower_secagg.measure(scale.devices, scale.parameters, shares, dropouts, scale.rival_rounds)
        rival = statistics.median(found.seconds)
        figures.append(Figure(f"{title}: whole round, Flower {graph}", ours, "s", rival=rival))
        figures.append(Figure(f"{title}: times faster, {graph}", rival / ours, "", at_least=TIMES_FASTER[graph]))
        sent = found.bytes_per_parameter
        figures.append(Figure(f"{title}: Flower's masked update, {graph}", sent, "bytes/parameter"))
    return figures


def over_plain(scale: Scale, masked: list[Seen]) -> list[Figure]:
    """Masked rounds by rounds of the same devices that mask nothing."""
    plain = watch_rounds(Size(scale.devices, scale.parameters), scale.rounds, plain=True)
    ours, rival = (statistics.median(one.whole_s for one in seen) for seen in (masked, plain))
    return [
        Figure("whole round, rival: without masks", ours, "s", rival=rival),
        Figure("cost over plain sums", ours / rival, "", at_most=COST_OVER_PLAIN),
    ]


def wire(scale: Scale) -> list[Figure]:
    """What a device sends in a round."""
    figures = []
    for bits, most in BYTES_PER_PARAMETER.items():
        (seen,) = watch_rounds(Size(2, scale.parameters), 1, update_bits=bits)
        title = f"sent, updates of {bits} bits" if bits else "sent"
        figures.append(Figure(title, seen.sent_bytes / scale.parameters, "bytes/parameter", at_most=most))
    return figures


def device(scale: Scale) -> list[Figure]:
    """A report on the device."""
    aes, sha = masking_cost.passes_seconds(scale.long_parameters, scale.repeat)
    ours = masking_cost.report_seconds(scale.long_parameters, scale.repeat)
    packed = masking_cost.report_seconds(scale.long_parameters, scale.repeat, update_bits=16)
    title = f"a report of {scale.long_parameters:,} parameters"
    return [
        Figure("one pass of AES-256-CTR", 1e3 * aes, "ms"),
        Figure("one pass of SHA-256", 1e3 * sha, "ms"),
        Figure(f"{title}, rival: both passes", 1e3 * ours, "ms", rival=1e3 * (aes + sha)),
        Figure(f"{title}, in such passes", ours / (aes + sha), "", at_most=PASSES),
        Figure(f"{title}, packed (16 bits)", 1e3 * packed, "ms"),
    ]


def servers(count: int, parameters: int) -> list[Figure]:
    """Both servers with so many long reports."""
    if not report_memory.has_room(count, parameters):
        print(f"The disk has no room for {count} reports: they are left out.", file=sys.stderr)
        return []
    seen = report_memory.watch_sums(count, parameters, cores=(2, 1))
    title = f"{count} reports of {parameters:,}"
    return [
        *(Figure(f"{title}: {name}, idle", seen.idle_mb[name], "MB") for name in SERVERS),
        *(Figure(f"{title}: {name}, above that", seen.vectors(name), "vectors", at_most=VECTORS) for name in SERVERS),
        *(Figure(f"{title}: sum and release, {cores} cores", took, "s") for cores, took in seen.seconds.items()),
    ]


if __name__ == "__main__":
    sys.exit(main())
