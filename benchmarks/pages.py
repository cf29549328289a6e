"""How long does a server take for each of its pages, and how much does a browser have to fetch for it?

    make bench NAME=pages
    make bench NAME=pages ARGS="--devices 50 --rounds 50 --pictures 500 --json"

A federation that has been at work for long is built: 500 devices, 500 rounds, and a device with 5,000 pictures. Main
server, aggregator and that device run as they do in earnest, one process each. Every page that their applications have
is asked for again and again, as a browser does that has logged in. One picture is labelled again and again, each time
with the page that shows it.

*Time* is from sending the request to the last byte of the answer, on this machine's loopback, over one connection that
is kept open. Nothing else is asked of the processes meanwhile, but what they do by themselves goes on.

*Size* is that of the bodies as they travel: the page, and all scripts and style sheets that it names, or that these
name; whether a page really loads the latter depends on what is on it. Pictures and icons do not count. *Again* is what
a browser fetches when it comes back: the page, and of the rest what has changed; for that it has to ask.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.browsing import Browser
from benchmarks.page_addresses import page_addresses
from benchmarks.report import Figure, Report
from benchmarks.stores.federation import CLASSES, ROLES, Filled, Size, full_federation

MOST_MS = 50.0
MOST_KB = 300.0
LABELLING = "/pictures/change, then /pictures"
_HEADINGS = ("page", "median ms", "p95", "first", "of limit", "kB HTML", "kB in all", "of limit", "again", "")


@dataclass(frozen=True)
class Page:
    """What was measured of one address.

    Attributes:
        role, address: which.
        times_ms: of every answer but the first.
        first_ms: of the first one.
        html, whole, again: bytes of the page, with scripts and styles, and at the second visit.
        most_ms: promised for the median.
    """

    role: str
    address: str
    times_ms: tuple[float, ...]
    first_ms: float
    html: int
    whole: int
    again: int
    most_ms: float = MOST_MS

    @property
    def median_ms(self) -> float:
        """Half of the answers came within this time."""
        return statistics.median(self.times_ms)

    @property
    def p95_ms(self) -> float:
        """All but the slowest twentieth of the answers did."""
        return sorted(self.times_ms)[round(0.95 * (len(self.times_ms) - 1))]

    @property
    def ok(self) -> bool:
        """Are both promises kept?"""
        return self.median_ms <= self.most_ms and self.whole <= MOST_KB * 1000

    def figures(self) -> tuple[Figure, ...]:
        """As the report wants them."""
        name = f"{self.role} {self.address}"
        return (
            Figure(f"{name}: time, median", self.median_ms, "ms", at_most=self.most_ms),
            Figure(f"{name}: time, 95th percentile", self.p95_ms, "ms"),
            Figure(f"{name}: HTML", self.html / 1000, "kB"),
            Figure(f"{name}: HTML, scripts and styles", self.whole / 1000, "kB", at_most=MOST_KB),
            Figure(f"{name}: fetched again", self.again / 1000, "kB"),
        )

    def cells(self) -> tuple[str, ...]:
        """As the table shows them."""
        times = (self.median_ms, self.p95_ms, self.first_ms)
        sizes = (self.html / 1000, self.whole / 1000)
        return (
            f"{self.role} {self.address}",
            *(f"{value:.1f}" for value in times),
            f"{self.median_ms / self.most_ms:.2f}",
            *(f"{value:.1f}" for value in sizes),
            f"{self.whole / 1000 / MOST_KB:.2f}",
            f"{self.again / 1000:.1f}",
            "ok" if self.ok else "FAILS",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the exit code is 1 where a page is too slow or too large."""
    options = _parse(arguments)
    size = Size(options.devices, options.rounds, options.pictures)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fanlight-pages-") as folder, full_federation(Path(folder), size) as built:
        print(f"built in {time.monotonic() - began:.0f} s: {size}", file=sys.stderr)
        pages = [page for role in ROLES for page in measure(built, role, options.times)]
    print(table(pages))
    report = Report("pages", tuple(figure for page in pages for figure in page.figures()))
    if options.json:
        print(report.json_line(), flush=True)
    return 0 if report.ok else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pages", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", type=_at_least(2), default=500, help="enrolled at both servers (500)")
    parser.add_argument("--rounds", type=_at_least(1), default=500, help="that are over (500)")
    parser.add_argument("--pictures", type=_at_least(1), default=5000, help="of one device (5000)")
    parser.add_argument("--times", type=_at_least(2), default=30, help="that each page is asked for, after the first")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    return parser.parse_args(arguments)


def measure(built: Filled, role: str, times: int) -> list[Page]:
    """Ask for every page of a role once, then for all of them in turn, so that what else happens hits all alike."""
    with Browser(built.clients[role]) as browser:
        addresses = page_addresses(built.apps[role], role, built.newest)
        first = {address: browser.visit(address) for address in addresses}
        taken: dict[str, list[float]] = {address: [] for address in addresses}
        for _ in range(times):
            for address in addresses:
                taken[address].append(browser.fetch(address).ms)
        pages = [
            Page(role, address, tuple(taken[address]), seen.ms, seen.html, seen.whole, browser.visit_again(address))
            for address, seen in first.items()
        ]
        return [*pages, _labelling(browser, built.newest.picture, times)] if role == "device" else pages


def _labelling(browser: Browser, picture: str, times: int) -> Page:
    """Say again and again what one picture shows, each time something else; the time is until the page shows it."""

    def label(number: int) -> float:
        fields = {"picture": picture, "assign": CLASSES[number % 2]}
        return browser.press("/pictures", "/pictures/change", fields).ms

    first_ms, *times_ms = (label(number) for number in range(times + 1))
    seen = browser.visit("/pictures")
    again = browser.visit_again("/pictures")
    two_ms = 2 * MOST_MS  # for two requests
    return Page("device", LABELLING, tuple(times_ms), first_ms, seen.html, seen.whole, again, two_ms)


def table(pages: Sequence[Page]) -> str:
    """All pages in aligned columns."""
    rows = [_HEADINGS, *(page.cells() for page in pages)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join("  ".join(_aligned(row, widths)) for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        given = int(text)
        if given < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more")
        return given

    return number


if __name__ == "__main__":
    sys.exit(main())
