"""Figures and states as people read them."""

from __future__ import annotations

import pytest

from fanlight.consoles import formats
from fanlight.consoles.the_round import ROUND, numbers_of, title_of
from fanlight.core.percent import percent


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.9344), "93.4 %"),
        (percent(None), "–"),
        (formats.points(0.93, 0.5), "+43.0"),
        (formats.points(0.5, 0.93), "−43.0"),
        (formats.points(0.5, 0.5), "±0.0"),
        (formats.points(0.5, 0.5001), "±0.0"),
        (formats.points(None, 0.5), ""),
        (formats.moment(0), "1970-01-01 00:00 UTC"),
        (formats.moment(None), "–"),
        (formats.iso(0), "1970-01-01T00:00:00Z"),
        (formats.size(999), "999 bytes"),
        (formats.size(20_700), "20.7 kB"),
        (formats.size(3_000_000_000_000), "3000.0 GB"),
        (formats.duration(4.21), "4.2 s"),
        (formats.duration(180), "3 min"),
        (formats.duration(7 * 3600), "7 h"),
        (formats.duration(6 * 86_400), "6 days"),
        (formats.short("ab" * 32), "abababababab"),
        (formats.short(None), "–"),
        (formats.count(1, "report"), "1 report"),
        (formats.count(1200, "report"), "1,200 reports"),
        (formats.count(2, "pass", "passes"), "2 passes"),
        (formats.tone("complete"), "good"),
        (formats.tone("never heard of"), "quiet"),
    ],
)
def test_shown(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_result_is_shown_without_what_only_machines_compare() -> None:
    found = {
        "mh": "ff" * 32,
        "opened_at": 1.8e9,
        "local_accuracy": 0.875,
        "bytes": 21_075,
        "round": 3,
        "examples": None,
    }
    assert formats.results(found) == [
        ("Round", "3", ""),
        ("Own model's accuracy", "87.5 %", ""),
        ("Sent", "21.1 kB", ""),
    ]
    assert formats.results({"published": 2}) == [("Published", "version 2", "/models/2")]


def test_the_round_knows_where_each_step_is_done() -> None:
    assert [step.number for step in ROUND] == [1, 2, 3, 4, 5, 6, 7]
    assert numbers_of("main", "/aggregate_models") == "4–5"
    assert numbers_of("aggregator", "/aggregate_models") == "4"
    assert numbers_of("main", "/send_model_clients") == "6"
    assert numbers_of("device", "/elsewhere") == ""
    assert title_of("main", "/aggregate_models") == "Aggregate"
    assert title_of("device", "/elsewhere") == "/elsewhere"
