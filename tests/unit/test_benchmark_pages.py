"""The benchmark of the pages runs, small: its stores are what the services read, and it knows every page there is."""

from __future__ import annotations

import json
import re

import pytest
from fastapi import FastAPI

from benchmarks.page_addresses import Newest, page_addresses
from benchmarks.pages import LABELLING, MOST_KB, MOST_MS, Page, main


def page(ms: float, size: int) -> Page:
    return Page("main", "/", (ms, ms, 1000.0), first_ms=1000.0, html=10, whole=size, again=10)


def test_it_asks_for_all_pages_of_all_roles(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--devices", "3", "--rounds", "3", "--pictures", "12", "--times", "2", "--json"])
    *table, line = capsys.readouterr().out.splitlines()
    figures = json.loads(line)["figures"]
    names = [figure["name"] for figure in figures]
    timed = [name.removesuffix(": time, median") for name in names if name.endswith(": time, median")]
    assert {"main /", "main /rounds/3", "aggregator /", "device /pictures", "device /privacy"} <= set(timed)
    assert timed[-1] == f"device {LABELLING}"
    assert [row.partition("  ")[0] for row in table[1:]] == timed


def test_a_page_with_a_parameter_that_nobody_gave_an_example_for_stops_it() -> None:
    app = FastAPI(openapi_url=None)
    app.add_api_route("/news/{number}", lambda number: number)
    with pytest.raises(SystemExit, match=re.escape("/news/{number}")):
        page_addresses(app, "main", Newest(1, 1, 1, ""))


@pytest.mark.parametrize(
    ("seen", "ok"),
    [
        (page(MOST_MS, int(1000 * MOST_KB)), True),
        (page(MOST_MS + 0.1, 10), False),
        (page(1.0, int(1000 * MOST_KB) + 1), False),
    ],
)
def test_a_page_that_is_too_slow_or_too_large_fails(seen: Page, ok: bool) -> None:
    assert seen.ok is ok
    assert all(figure.ok for figure in seen.figures()) is ok
    assert seen.cells()[-1] == ("ok" if ok else "FAILS")
