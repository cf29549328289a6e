from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import (
    Conflict,
    MalformedMessage,
    MessageTooLarge,
    NotAuthentic,
    NotEnrolled,
    NotFound,
    Refused,
    RemoteError,
    Unreachable,
)
from fanlight.services.http.remote import PROBLEM_LIMIT, Remote
from tests.unit.device.federation import OnTheWire, problem, reply


def remote(handler: Callable[[httpx.Request], httpx.Response]) -> Remote:
    return Remote(
        "The server",
        "http://server.test",
        key_id="00" * 16,
        private=Ed25519PrivateKey.generate(),
        clock=lambda: 1000.0,
        transport=httpx.MockTransport(handler),
    )


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (400, "malformed-message", MalformedMessage),
        (401, "clock-skewed", NotAuthentic),
        (401, "not-enrolled", NotEnrolled),
        (403, "revoked", NotEnrolled),
        (403, "token-expired", Refused),
        (404, "round-not-over", NotFound),
        (409, "round-released", Conflict),
        (413, "message-too-large", MessageTooLarge),
        (421, "unknown-host", Refused),
        (429, "too-many-requests", Refused),
        (500, "unexpected-error", Unreachable),
        (507, "disk-full", Unreachable),
    ],
)
def test_a_problem_keeps_its_slug_and_advice(status: int, slug: str, kind: type[RemoteError]) -> None:
    with pytest.raises(kind) as caught:
        remote(lambda _request: problem(status, slug)).send("GET", "/")
    assert (type(caught.value), caught.value.slug, caught.value.next) == (kind, slug, "Do this.")
    assert "The server" in caught.value.message


@pytest.mark.parametrize(("status", "kind"), [(429, Refused), (503, Unreachable), (507, Unreachable)])
def test_a_problem_keeps_when_to_come_back(status: int, kind: type[RemoteError]) -> None:
    with pytest.raises(kind) as caught:
        remote(lambda _request: reply(b"", status=status, headers={"Retry-After": "17"})).send("GET", "/")
    assert caught.value.retry_after_s == 17


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 5}', b'{"error": {"slug": 1}}', b"[" * 60_000])
@pytest.mark.parametrize("status", [404, 500, 302])
def test_an_answer_that_is_no_problem_of_ours_means_somebody_else_answers(status: int, body: bytes) -> None:
    with pytest.raises(Unreachable, match=f"status {status}"):
        remote(lambda _request: reply(body, status=status)).send("GET", "/")


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ReadTimeout("late"), httpx.RemoteProtocolError("?")])
def test_a_failed_connection_names_the_server(error: httpx.TransportError) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(Unreachable, match=r"The server at http://server\.test does not answer") as caught:
        remote(fail).send("GET", "/")
    assert caught.value.next == "Is it running, and is the address right?"  # a step by hand is not tried again


class Unread(OnTheWire):
    """A body that must not be read."""

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("it was read")


def test_an_answer_that_says_it_is_too_long_is_not_read() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Unread(b""), headers={"Content-Length": "101"})

    with pytest.raises(MessageTooLarge):
        remote(answer).send("GET", "/", limit=100)


@pytest.mark.parametrize(("status", "limit"), [(200, 100), (500, PROBLEM_LIMIT)])
def test_an_answer_that_becomes_too_long_is_cut_off(status: int, limit: int) -> None:
    server = remote(lambda _request: reply(bytes(limit + 1), status=status))
    with pytest.raises(MessageTooLarge):
        server.send("GET", "/", limit=100)
    assert remote(lambda _request: reply(bytes(100))).send("GET", "/", limit=100) == bytes(100)


def test_a_compressed_answer_is_not_unpacked() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        return reply(b"bomb", headers={"Content-Encoding": "gzip"})

    with pytest.raises(Unreachable) as caught:
        remote(answer).send("GET", "/")
    assert caught.value.slug == "bad-answer"


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(PROBLEM_LIMIT + 1)}, {"Content-Length": "-1"}])
def test_a_refusal_without_a_short_length_is_not_read(headers: dict[str, str]) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, stream=Unread(b""), headers=headers)

    with pytest.raises((Unreachable, MessageTooLarge)):
        remote(answer).send("GET", "/")


def test_a_clock_that_is_wrong_is_set_by_the_server() -> None:
    created: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        created.append(request.headers["signature-input"].partition("created=")[2].partition(";")[0])
        if len(created) > 1:
            return reply(b"welcome")
        refusal = problem(401, "clock-skew")
        refusal.headers["Date"] = "Tue, 14 Nov 2023 22:13:20 GMT"
        return refusal

    assert remote(answer).send("GET", "/") == b"welcome"
    assert created == ["1000", "1700000000"]
