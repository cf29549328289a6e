"""For whom a request was signed, and whose memory of nonces it uses up."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from fanlight.errors import NotAuthentic
from fanlight.protocol.signing import raw_public_key
from fanlight.services.http.hosts import authorities_of, authority_of
from fanlight.services.http.nonces import NonceWindow
from fanlight.services.http.problems import install_problems
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.http.signing import SignedRequests
from fanlight.services.server import membership_api
from tests.unit.http.support import BASE, KEY, Clock, slug

HERE = ("localhost:8000",)


def resolve(_key_id: str) -> bytes:
    return raw_public_key(KEY)


def signed_for(base: str, clock: Clock) -> httpx.Request:
    request = httpx.Request("POST", f"{base}/protocol/v1/readiness?a=1", content=b"hello")
    SignedRequests("me", KEY, clock).sign(request)
    return request


def verify(verifier: SignatureVerifier, request: httpx.Request) -> str:
    """With the Host header that was signed, as a server that replays the request would send it."""
    return verifier.verify(request.headers, request.method, str(request.url)).key_id


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://LocalHost:80/", "localhost"),
        ("https://main.example:443", "main.example"),
        ("https://main.example:80", "main.example:80"),
        ("http://[::1]:8000/a?b", "[::1]:8000"),
        ("http://[::1]", "[::1]"),
    ],
)
def test_authorities_are_in_one_form(url: str, authority: str) -> None:
    assert authority_of(url) == authority


def test_a_server_is_meant_by_its_public_url_and_by_where_it_listens() -> None:
    assert authorities_of("https://Main.example/", "localhost", 8000) == {"main.example", "localhost:8000"}
    assert authorities_of("http://localhost:8000", "::1", 8000) == {"localhost:8000", "[::1]:8000"}


@pytest.mark.parametrize("base", ["http://localhost:8003", "http://localhost", "http://127.0.0.1:8000", "https://a.b"])
def test_what_was_signed_for_another_server_is_refused_though_the_signature_is_good(base: str) -> None:
    clock = Clock()
    nonces = NonceWindow()
    with pytest.raises(NotAuthentic) as caught:
        verify(SignatureVerifier(resolve, clock, HERE, nonces), signed_for(base, clock))
    assert caught.value.slug == "other-server"
    assert len(nonces) == 0
    assert verify(SignatureVerifier(resolve, clock, [authority_of(base)], nonces), signed_for(base, clock)) == "me"


@pytest.mark.parametrize("base", ["http://main.example", "http://MAIN.example:80", "http://localhost:8000"])
def test_every_name_of_a_server_is_good(base: str) -> None:
    clock = Clock()
    authorities = authorities_of("http://main.example", "localhost", 8000)
    assert verify(SignatureVerifier(resolve, clock, authorities), signed_for(base, clock)) == "me"


def test_verifiers_that_share_a_window_share_it_from_the_first_nonce_on() -> None:
    clock, nonces = Clock(), NonceWindow()
    first, second = (SignatureVerifier(resolve, clock, HERE, nonces) for _ in range(2))
    request = signed_for(BASE, clock)
    verify(first, request)
    assert len(nonces) == 1
    with pytest.raises(NotAuthentic) as caught:
        verify(second, request)
    assert caught.value.slug == "replayed"


def test_strangers_cannot_lock_members_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can make keys and sign enrolments with them; they may only fill the strangers' own small memory."""
    monkeypatch.setattr(membership_api, "STRANGERS_IN_ALL", 5)
    clock, nonces = Clock(), NonceWindow(total=10)
    members = SignatureVerifier(lambda key_id: raw_public_key(KEY) if key_id == "me" else None, clock, HERE, nonces)
    app = FastAPI()
    install_problems(app)
    nobody: Any = None  # no test enrols here
    app.router.routes[:0] = membership_api.membership_routes(nobody, members, HERE, clock, lambda: None)

    @app.get("/member")
    async def member(request: Request) -> str:
        return members.verify_request(request).key_id

    http = TestClient(app, base_url=BASE)
    slugs = []
    for _ in range(20):
        key = Ed25519PrivateKey.generate()
        junk = SignedRequests(raw_public_key(key).hex(), key, clock)
        slugs.append(slug(http.post("/protocol/v1/enrolments", content=b"junk", auth=junk)))
    assert slugs == ["malformed-message"] * 5 + ["too-many-requests"] * 15
    assert len(nonces) == 0
    assert http.get("/member", auth=SignedRequests("me", KEY, clock)).json() == "me"


def test_a_request_without_any_signature_is_told_so() -> None:
    verifier, bare = SignatureVerifier(resolve, Clock(), HERE), httpx.Request("GET", f"{BASE}/protocol/v1/offer")
    with pytest.raises(NotAuthentic, match="is not signed"):
        verify(verifier, bare)
    half = httpx.Request("GET", bare.url, headers={"Signature": "a=:AAAA:"})
    with pytest.raises(NotAuthentic, match="not in our form"):
        verify(verifier, half)


def test_what_was_verified_does_not_wait_with_the_request_and_all_else_does() -> None:
    clock = Clock()
    sent = signed_for(BASE, clock)
    fields = [(name.lower(), value) for name, value in sent.headers.raw]  # the very list that a web server holds
    others = [field for field in fields if b"signature" not in field[0] and field[0] != b"content-digest"]
    scope: dict[str, Any] = {"type": "http", "method": "POST", "scheme": "http", "headers": fields}
    scope |= {"path": sent.url.path, "raw_path": sent.url.raw_path.partition(b"?")[0], "query_string": sent.url.query}
    request = Request(scope)
    assert SignatureVerifier(resolve, clock, HERE).verify_request(request).key_id == "me"
    assert fields == others
    assert request.headers["content-length"] == "5"
