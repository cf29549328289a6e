from __future__ import annotations

import pytest

from fanlight.services.http.backoff import LONGEST_TOLD_S, retry_after_s

NOW = 784_111_777.0
AT_NOW, A_MINUTE_LATER = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("99999999999999999999", LONGEST_TOLD_S),
        (A_MINUTE_LATER, 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        (AT_NOW, 0.0),
        ("Sun, 06 Nov 1983 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 9999 08:49:37 GMT", LONGEST_TOLD_S),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("١٢", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999999999 08:49:37 GMT", None),
    ],
)
def test_seconds_and_dates_are_understood_and_capped(told: str, expected: float | None) -> None:
    assert retry_after_s({"retry-after": told}, NOW) == expected


def test_a_date_is_compared_with_the_servers_own_clock() -> None:
    """A device that woke up in 1970 is not kept away for decades."""
    assert retry_after_s({"retry-after": A_MINUTE_LATER, "date": AT_NOW}, 0.0) == 60.0
    assert retry_after_s({"retry-after": A_MINUTE_LATER, "date": "nonsense"}, NOW - 1) == 61.0


def test_no_header_is_no_word() -> None:
    assert retry_after_s({}, NOW) is None
