"""When a device asks the aggregator what time it is, and what the answer is good for."""

from __future__ import annotations

from email.utils import formatdate

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import MalformedMessage, Unreachable
from fanlight.services.device.client import AggregatorClient
from fanlight.services.device.window_time import WindowTime
from fanlight.services.http.remote import Remote
from tests.protocol_world import NOW, World, plan_of

WORLD = World(2, "window time")
SIGNED = WORLD.sign_manifest(WORLD.proposal(plan_of()))
CLOSES_AT = SIGNED.terms.closes_at
HOUR_S = 3600


class Aggregator:
    """It tells ``date``, and counts how often it was asked; no date: it does not answer."""

    def __init__(self, date: str | None) -> None:
        self.date, self.asked = date, 0
        key = Ed25519PrivateKey.generate()
        transport = httpx.MockTransport(self._answer)
        self.remote = Remote("It", "http://it", key_id="me", private=key, clock=lambda: NOW, transport=transport)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/protocol/v1/time"
        self.asked += 1
        if self.date is None:
            raise httpx.ConnectError("away")
        headers = {"Date": self.date} if self.date else {}
        return httpx.Response(204, headers=headers, stream=httpx.ByteStream(b""))

    def time(self, now: float) -> WindowTime:
        """For a device by whose own clock it is ``now``."""
        return WindowTime(AggregatorClient(self.remote), lambda: now)


def test_while_the_window_is_open_nobody_is_asked() -> None:
    there = Aggregator(None)
    time = there.time(CLOSES_AT - 1)
    time.settle(SIGNED)
    assert (time(), there.asked) == (CLOSES_AT - 1, 0)


@pytest.mark.parametrize("told", [CLOSES_AT - HOUR_S, CLOSES_AT + HOUR_S], ids=["open", "passed"])
def test_a_window_that_seems_to_have_passed_is_asked_about_once(told: int) -> None:
    there = Aggregator(formatdate(told, usegmt=True))
    time = there.time(CLOSES_AT)
    for _ in range(3):
        time.settle(SIGNED)
    assert (time(), there.asked) == (told, 1)
    assert there.remote.auth.clock_offset_s == 0, "a time that nobody has signed goes into no signature"


def test_who_does_not_answer_is_asked_again() -> None:
    there = Aggregator(None)
    time = there.time(CLOSES_AT)
    for _ in range(2):
        with pytest.raises(Unreachable):
            time.settle(SIGNED)
    assert (time(), there.asked) == (CLOSES_AT, 2)


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 31 Dec 99999999 23:59:59 GMT"])
def test_an_answer_without_a_usable_date_is_the_aggregators_fault(date: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        Aggregator(date).time(CLOSES_AT).settle(SIGNED)
    assert caught.value.slug == "bad-date"
