"""Signing and verifying as both ends do it, in memory and over a real connection."""

import hashlib
import time

import httpx
import pytest

from fanlight.errors import UsageError
from fanlight.services.http.signature_profile import content_digest
from tests.unit.http.support import BASE, Clock, client, live, make_app, signed_request, signer, slug

PATHS = ["/protocol/v1/echo", "/protocol/v1/echo?", "/protocol/v1/echo?a=1&b=%20%2F+c", "/protocol/v1/echo?ä=ö"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_signed_request_is_its_senders(path: str, content: bytes) -> None:
    clock = Clock()
    http = client(make_app(clock))
    auth = signer(clock)
    answer = http.post(path, content=content, auth=auth)
    assert answer.json() == {"key_id": "me", "length": len(content)}
    assert http.get(path, auth=auth).json()["key_id"] == "me"


def test_the_signature_covers_all_it_must() -> None:
    fields = signed_request(Clock()).headers["signature-input"]
    assert fields.startswith('fanlight=("@method" "@authority" "@path" "@query" "content-digest");')
    for part in (
        "created=1800000000",
        "expires=1800000060",
        'nonce="',
        'keyid="me"',
        'alg="ed25519"',
        'tag="fanlight/1"',
    ):
        assert part in fields


def test_over_a_real_connection() -> None:
    clock = Clock()
    with live(make_app, clock) as url, httpx.Client(auth=signer(clock), timeout=60) as http:
        for path in PATHS:
            assert http.post(url + path, content=b"hello").json() == {"key_id": "me", "length": 5}
        odd = http.put(url + "/protocol/v1/stream/a%2Fb%20c;d/./e", content=b"x" * 50_000)
        assert odd.json() == {"length": 50_000}


@pytest.mark.parametrize("offset", [-86_400 * 365 * 50, -301, 301, 86_400 * 365])
def test_a_wrong_clock_is_put_right_by_the_servers_date(offset: float) -> None:
    server_clock = time.time
    auth = signer(lambda: max(server_clock() + offset, 1000.0))
    with live(make_app, None, server_clock) as url, httpx.Client(auth=auth, timeout=60) as http:
        assert http.post(url + "/protocol/v1/echo", content=b"hello").status_code == 200
        assert auth.clock_offset_s != 0
        streamed = {"Content-Digest": content_digest(hashlib.sha256(b"abc").digest())}
        answer = http.put(url + "/protocol/v1/stream/x", content=iter([b"ab", b"c"]), headers=streamed)
        assert answer.json() == {"length": 3}


def test_a_streamed_body_is_not_sent_twice_but_the_time_is_learnt() -> None:
    server_clock = time.time
    auth = signer(Clock(1_000_000.0))
    streamed = {"Content-Digest": content_digest(hashlib.sha256(b"abc").digest())}
    with live(make_app, None, server_clock) as url, httpx.Client(auth=auth, timeout=60) as http:
        first = http.put(url + "/protocol/v1/stream/x", content=iter([b"abc"]), headers=streamed)
        assert (first.status_code, slug(first)) == (401, "clock-skew")
        assert http.put(url + "/protocol/v1/stream/x", content=iter([b"abc"]), headers=streamed).status_code == 200


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_refusal_without_a_usable_date_is_passed_on(date: str | None) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        headers = {} if date is None else {"Date": date}
        return httpx.Response(401, json={"error": {"slug": "clock-skew"}}, headers=headers)

    auth = signer(Clock())
    with httpx.Client(transport=httpx.MockTransport(refuse), auth=auth) as http:
        assert http.get(BASE).status_code == 401
    assert auth.clock_offset_s == 0


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b"{}", b'{"error": {"slug": "not-authentic"}}'])
def test_other_refusals_are_not_repeated(body: bytes) -> None:
    seen = []

    def refuse(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(401, content=body, headers={"Date": "Fri, 15 Jan 2027 08:00:00 GMT"})

    with httpx.Client(transport=httpx.MockTransport(refuse), auth=signer(Clock())) as http:
        assert http.get(BASE).status_code == 401
    assert len(seen) == 1


def test_a_stream_without_a_digest_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Content-Digest"):
        client(make_app()).put("/protocol/v1/stream/x", content=iter([b"abc"]), auth=signer(Clock()))
