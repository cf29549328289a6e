"""How long is waited for an answer, and that the kernel watches every connection."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import Unreachable
from fanlight.services.http.remote import Remote
from fanlight.services.http.silence import ANSWER_S, LATE_S, SOCKET_OPTIONS, patience, patience_for
from fanlight.services.http.wire import Wire
from tests.unit.http.support import KEY, Clock, live, make_app, signer

sizes = st.integers(0, 1 << 33)


def test_a_small_request_is_answered_within_seconds() -> None:
    assert patience() == httpx.Timeout(ANSWER_S)
    assert ANSWER_S <= 10


@given(sizes, sizes, sizes)
def test_only_the_answer_is_waited_for_longer_and_the_longer_the_more_there_is_to_do(
    sent: int, work: int, more: int
) -> None:
    due = patience(sent, work)
    assert due.connect == due.write == due.pool == ANSWER_S
    assert due.read is not None
    for other in (patience(sent + more, work), patience(sent, work + more)):
        assert other.read is not None
        assert ANSWER_S <= due.read <= other.read


@given(st.floats(0, 25))
def test_a_long_poll_is_given_up_soon_after_its_end(wait_s: float) -> None:
    assert patience_for(wait_s).read == wait_s + LATE_S


@pytest.mark.parametrize(("content", "length"), [(b"hello", 5), (iter([b"x" * 3_000_000] * 4), 12_000_000)])
def test_a_request_is_given_the_patience_that_its_length_is_due(content: Any, length: int) -> None:
    seen: list[dict[str, float]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        raise httpx.ReadTimeout("nobody answers")

    private = Ed25519PrivateKey.generate()
    server = Remote(
        "The server", "http://server.test", key_id="me", private=private, clock=Clock(),
        transport=httpx.MockTransport(answer),
    )  # fmt: skip
    headers = {"Content-Length": str(length), "Content-Digest": "sha-256=:AAAA:"}
    with pytest.raises(Unreachable):
        server.send("POST", "/", content=content, headers=headers)
    with pytest.raises(Unreachable):
        server.send("POST", "/", content=b"hello", headers={}, timeout=httpx.Timeout(1))
    assert seen == [patience(length).as_dict(), httpx.Timeout(1).as_dict()]


def test_the_kernel_watches_the_connections() -> None:
    told = [value for _, _, value in SOCKET_OPTIONS]
    clock = Clock()
    with (
        live(make_app, clock) as url,
        Wire(url, {}, lambda _response: None) as wire,
        wire.exchange(
            "GET", "/protocol/v1/echo", content=b"", headers={}, auth=signer(clock, "me", KEY), timeout=patience()
        ) as response,
    ):
        there = response.extensions["socket"]
        assert [there.getsockopt(level, option) for level, option, _ in SOCKET_OPTIONS] == told
    assert told[0] == 1
    assert SOCKET_OPTIONS[0][:2] == (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
