"""How long the body of an upload is waited for."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from fanlight.errors import MalformedMessage
from fanlight.services.aggregator import upload_body
from fanlight.services.aggregator.upload_body import Body

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


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_body, "GRACE_S", PIECES * PAUSE_S / 2)
    monkeypatch.setattr(upload_body, "SLOWEST_RATE", 1000)


def test_what_comes_fast_enough_may_take_longer_than_the_grace() -> None:
    assert len(read(10_000)) == PIECES * 10_000


def test_what_comes_too_slowly_is_let_go_and_told_to_come_back() -> None:
    with pytest.raises(MalformedMessage) as error:
        read(1)
    assert (error.value.slug, error.value.retry_after_s) == ("too-slow", upload_body.RETRY_S)
