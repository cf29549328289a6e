"""How long the body of an upload is waited for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from fanlight.errors import MalformedMessage
from fanlight.services.aggregator import upload_body
from fanlight.services.aggregator.upload_body import Body
from fanlight.services.http.silence import GONE_S

PIECES, PAUSE_S = 20, 0.05


def read(size: int) -> bytes:
    """The body of a request whose pieces of ``size`` bytes come with pauses that take longer than the grace."""
    pieces = [bytes([number]) * size for number in range(PIECES)]

    async def receive() -> Message:
        await asyncio.sleep(PAUSE_S)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def whole() -> bytes:
        return await Body(Request({"type": "http", "headers": []}, receive)).exactly(PIECES * size)

    return asyncio.run(whole())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_body, "GRACE_S", PIECES * PAUSE_S / 2)
    monkeypatch.setattr(upload_body, "SLOWEST_RATE", 1000)


@pytest.mark.usefixtures("short")
def test_what_comes_fast_enough_may_take_longer_than_the_grace() -> None:
    assert len(read(10_000)) == PIECES * 10_000


@pytest.mark.usefixtures("short")
def test_what_comes_too_slowly_is_let_go_and_told_to_come_back() -> None:
    with pytest.raises(MalformedMessage) as error:
        read(1)
    assert (error.value.slug, error.value.retry_after_s) == ("too-slow", upload_body.RETRY_S)


class Skipping(selectors.DefaultSelector):
    """Nothing is waited for: the time at which it would be over has come."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0)


def read_by_its_own_clock(pieces: Iterable[tuple[float, int]]) -> int:
    """How many bytes arrive of a body whose pieces come after so many seconds each, with so many bytes."""
    coming = iter(pieces)

    async def receive() -> Message:
        pause_s, size = next(coming, (0.0, 0))
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": bytes(size), "more_body": size > 0}

    async def whole() -> int:
        body, read = Body(Request({"type": "http", "headers": []}, receive)), 0
        while piece := await body._next():
            read += len(piece)
        return read

    selector = Skipping()

    def loop() -> asyncio.SelectorEventLoop:
        made = asyncio.SelectorEventLoop(selector)
        made.time = lambda: selector.now  # type: ignore[method-assign]
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(whole())


def test_a_line_of_ten_kilobytes_a_second_brings_a_report_of_any_length() -> None:
    """Packet by packet, and now and then one is lost and comes with the next ones."""
    packets = [(0.146, 1460)] * 3000
    packets[::100] = [(1.46, 14_600)] * 30
    assert read_by_its_own_clock(packets) == sum(size for _, size in packets) > 4 << 20


def test_a_line_may_be_silent_for_as_long_as_the_senders_system_keeps_it() -> None:
    assert read_by_its_own_clock([(GONE_S + 1, 1460)] * 3 + [(0.1, 100_000)]) == 3 * 1460 + 100_000


def test_who_is_silent_for_longer_is_gone() -> None:
    with pytest.raises(MalformedMessage) as error:
        read_by_its_own_clock([(0.1, 1460), (upload_body.PATIENCE_S + 1, 1460)])
    assert (error.value.slug, error.value.retry_after_s) == ("too-slow", upload_body.RETRY_S)
