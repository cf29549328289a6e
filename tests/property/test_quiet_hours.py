"""Quiet hours by the clock on the wall: over midnight, and where the clock is put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fanlight.services.main_server.quiet_hours import QuietHours

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
BERLIN = "Europe/Berlin"

minutes = st.integers(0, 24 * 60 - 1)
zones = st.sampled_from(ZONES)


def utc(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())


moments = st.integers(utc(2024, 1, 1), utc(2031, 1, 1))
changes = st.sampled_from([utc(2026, 3, 29, 1), utc(2026, 10, 25, 1)])  # of the clocks in Berlin
near_a_change = st.builds(int.__add__, changes, st.integers(-12 * 3600, 12 * 3600))


def text_of(start: int, end: int) -> str:
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (start, end))


def parsed(text: str, zone: str) -> QuietHours:
    found = QuietHours.parse(text, zone)
    assert found is not None
    return found


def unix(text: str, zone: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@given(minutes, minutes, zones, st.one_of(moments, near_a_change))
def test_the_day_is_the_quiet_hours_and_the_others(start: int, end: int, zone: str, now: int) -> None:
    assume(start != end)
    here, others = parsed(text_of(start, end), zone), parsed(text_of(end, start), zone)
    assert here.holds(now) != others.holds(now)
    wall = datetime.fromtimestamp(now, ZoneInfo(zone))
    since = (wall.hour * 60 + wall.minute - start) % (24 * 60)
    assert here.holds(now) == (since < (end - start) % (24 * 60))


@given(minutes, minutes, zones, st.one_of(moments, near_a_change))
def test_they_end_at_the_first_minute_that_is_not_quiet(start: int, end: int, zone: str, now: int) -> None:
    assume(start != end)
    hours = parsed(text_of(start, end), zone)
    until = hours.until(now)
    assert (until is not None) == hours.holds(now)
    if until is not None:
        assert until > now
        assert until % 60 == 0
        assert not hours.holds(until)
        assert all(hours.holds(moment) for moment in range(now, int(until), 60))
        assert hours.holds(until - 1)


@pytest.mark.parametrize(
    ("text", "now", "until"),
    [
        ("22:00-06:00", "2026-11-23T23:30", "2026-11-24T06:00"),
        ("22:00-06:00", "2026-11-24T05:59", "2026-11-24T06:00"),
        ("22:00-06:00", "2026-03-28T22:00", "2026-03-29T06:00"),  # seven hours
        ("22:00-06:00", "2026-10-24T22:00", "2026-10-25T06:00"),  # nine hours
        ("22:00-02:30", "2026-03-29T01:59", "2026-03-29T03:00"),  # there is no half past two
        ("09:00-17:00", "2026-07-01T12:00", "2026-07-01T17:00"),
    ],
)
def test_nights_in_berlin(text: str, now: str, until: str) -> None:
    assert parsed(text, BERLIN).until(unix(now, BERLIN)) == unix(until, BERLIN)


def test_an_hour_that_comes_twice_is_quiet_twice() -> None:
    hours = parsed("22:00-02:30", BERLIN)
    first, second = (unix("2026-10-25T02:15", BERLIN, fold=fold) for fold in (0, 1))
    assert hours.until(first) == unix("2026-10-25T02:30", BERLIN, fold=0)
    assert hours.until(second) == unix("2026-10-25T02:30", BERLIN, fold=1)
    assert not hours.holds(unix("2026-10-25T02:45", BERLIN, fold=0))


@pytest.mark.parametrize("now", ["2026-11-24T06:00", "2026-11-24T21:59"])
def test_they_begin_and_end_on_the_minute(now: str) -> None:
    hours = parsed("22:00-06:00", BERLIN)
    assert hours.until(unix(now, BERLIN)) is None
    assert hours.holds(unix("2026-11-24T22:00", BERLIN))


def test_no_hours_are_none_and_the_end_is_said_by_their_clock() -> None:
    assert QuietHours.parse("", "UTC") is None
    now = (datetime(2026, 11, 24, 12, tzinfo=UTC) + timedelta(minutes=1)).timestamp()
    assert parsed("13:00-14:00", BERLIN).in_words(now) == "13:01 (Europe/Berlin)"


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("22:00", "UTC"), ("22-6", "UTC"), ("24:00-06:00", "UTC"), ("22:00-22:00", "UTC"), ("22:60-06:00", "UTC"),
        (" 22:00-06:00", "UTC"), ("٢٢:00-06:00", "UTC"), ("22:00-06:00\n", "UTC"), ("x" * 9000, "UTC"),
        ("", "Europe"), ("", "Mars/Olympus"), ("", "../../etc/passwd"), ("", "/etc/passwd"), ("", "a\0b"), ("", ""),
    ],
)  # fmt: skip
def test_what_is_none_is_refused(text: str, zone: str) -> None:
    with pytest.raises(ValueError, match=r"no hours|another time|no time zone") as caught:
        QuietHours.parse(text, zone)
    assert len(str(caught.value)) < 200
