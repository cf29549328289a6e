"""A benchmark's report: limits hold on the right side, and the JSON line has the shape that was promised."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks.report import Figure, Report, say


@pytest.mark.parametrize(
    ("figure", "ok"),
    [
        (Figure("a", 0.95, "fraction", at_least=0.95), True),
        (Figure("a", 0.9499, "fraction", at_least=0.95), False),
        (Figure("a", 3.0, "points", at_most=3.0), True),
        (Figure("a", 3.01, "points", at_most=3.0), False),
        (Figure("a", -1.0, "points", at_most=3.0), True),
        (Figure("a", 123.0, "s"), True),
        (Figure("a", math.nan, "fraction", at_least=0.0), False),
        (Figure("a", math.nan, "fraction", at_most=9.0), False),
        (Figure("a", -math.inf, "s", at_most=9.0), False),
    ],
)
def test_a_limit_is_kept_or_broken(figure: Figure, ok: bool) -> None:
    assert figure.ok is ok


def test_a_figure_has_at_most_one_limit() -> None:
    with pytest.raises(ValueError, match="one limit"):
        Figure("a", 1.0, "s", at_least=0.0, at_most=2.0)


@pytest.mark.parametrize(("rival", "ratio"), [(4.0, 0.5), (None, None), (0.0, None), (math.nan, None)])
def test_the_ratio_is_ours_by_the_rivals(rival: float | None, ratio: float | None) -> None:
    assert Figure("a", 2.0, "s", rival=rival).ratio == ratio


def test_the_json_line_has_exactly_the_promised_fields() -> None:
    report = Report("speed", (Figure("round", 2.0, "s", at_most=3.0, rival=4.0), Figure("größe", math.nan, "MB")))
    line = report.json_line()
    assert "\n" not in line
    assert json.loads(line) == {
        "benchmark": "speed",
        "figures": [
            {"name": "round", "value": 2.0, "unit": "s", "limit": 3.0, "rival": 4.0, "ratio": 0.5, "ok": True},
            {"name": "größe", "value": None, "unit": "MB", "limit": None, "rival": None, "ratio": None, "ok": True},
        ],
    }


def test_the_table_says_which_limit_is_broken() -> None:
    report = Report("speed", (Figure("good", 0.961, "fraction", at_least=0.95), Figure("bad", 5.0, "s", at_most=3.0)))
    headings, good, bad = report.table().splitlines()
    assert headings.split() == ["figure", "value", "unit", "limit", "rival", "ratio"]
    assert good.split() == ["good", "0.961", "fraction", ">=", "0.95", "ok"]
    assert bad.split() == ["bad", "5", "s", "<=", "3", "FAILS"]


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (2.0, 1)])
def test_the_json_line_comes_last_and_a_broken_limit_makes_the_exit_code(
    value: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("speed", (Figure("round", value, "s", at_most=1.0),))
    assert report.show(as_json=True) == code
    assert capsys.readouterr().out.splitlines()[-1] == report.json_line()


def test_without_json_only_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("speed", (Figure("round", 1.0, "s"),))
    report.show(as_json=False)
    assert capsys.readouterr().out == report.table() + "\n"


def test_a_figure_is_said_as_soon_as_it_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    figure = Figure("a: round", 0.123456, "s")
    assert say(figure) is figure
    assert capsys.readouterr() == ("", "a: round: 0.1235 s\n")
