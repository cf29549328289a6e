"""What a stranger, a malicious page or a man in the middle may try over HTTP.  Each attempt must fail."""

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver
from http_message_signatures.algorithms import ED25519, HMAC_SHA256
from starlette.testclient import TestClient

from fanlight.services.http.signature_profile import COVERED, TAG, content_digest
from tests.unit.http.support import (
    BASE,
    KEY,
    LIMIT,
    TOKEN,
    Clock,
    client,
    live,
    live_app,
    make_app,
    signed_request,
    signer,
    slug,
)

Tamper = Callable[[httpx.Request], httpx.Request]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def http(clock: Clock) -> TestClient:
    return client(make_app(clock))


def changed(request: httpx.Request, **changes: object) -> httpx.Request:
    """The same request, headers and signature included, but for ``changes``."""
    headers = dict(request.headers) | dict(changes.pop("headers", {}))  # type: ignore[call-overload]
    given = {"method": request.method, "url": request.url, "content": request.content} | changes
    return httpx.Request(headers=headers, **given)  # type: ignore[arg-type]


def sign_by_hand(request: httpx.Request, clock: Clock, **changes: object) -> httpx.Request:
    """Sign with the library itself, so that an attacker with a member's key may leave our profile."""
    algorithm = changes.pop("algorithm", ED25519)
    key = changes.pop("key", KEY)
    if "content-digest" not in request.headers:
        request.headers["content-digest"] = content_digest(sha256(request.content).digest())
    options: dict[str, object] = {
        "key_id": "me",
        "created": datetime.fromtimestamp(clock(), UTC),
        "expires": datetime.fromtimestamp(clock() + 60, UTC),
        "nonce": "0123456789abcdef",
        "tag": TAG,
        "covered_component_ids": COVERED,
        "use_existing_digest": True,
    }
    keys = MappingKeyResolver(public_keys={}, private_keys={"me": key})  # type: ignore[dict-item]
    handmade = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=keys)  # type: ignore[arg-type]
    handmade.sign(request, **(options | changes))  # type: ignore[arg-type]
    return request


def plain(path: str = "/protocol/v1/echo", content: bytes = b"hello") -> httpx.Request:
    return httpx.Request("POST", BASE + path, content=content)


def test_by_hand_and_inside_the_profile_is_accepted(http: TestClient, clock: Clock) -> None:
    """Otherwise the refusals below would prove nothing."""
    assert http.send(sign_by_hand(plain(), clock)).status_code == 200


# --- signed requests ------------------------------------------------------------------------------------------------


def test_a_replayed_request(http: TestClient, clock: Clock) -> None:
    request = signed_request(clock)
    assert http.send(changed(request)).status_code == 200
    replayed = http.send(changed(request))
    assert (replayed.status_code, slug(replayed)) == (401, "replayed")
    clock.now += 301
    late = http.send(changed(request))
    assert (late.status_code, slug(late)) == (401, "clock-skew")


TAMPERED: dict[str, Tamper] = {
    "path": lambda r: changed(r, url=BASE + "/protocol/v1/stream/x", method="PUT"),
    "path, same route": lambda r: changed(r, url=BASE + "/protocol/v1/%65cho"),
    "query added": lambda r: changed(r, url=str(r.url) + "?a=1"),
    "method": lambda r: changed(r, method="PUT"),
    "host": lambda r: changed(r, headers={"host": "lights.example"}),
    "digest": lambda r: changed(r, headers={"content-digest": content_digest(bytes(32))}),
    "later expiry": lambda r: changed(
        r, headers={"signature-input": r.headers["signature-input"].replace("expires=1800000060", "expires=1800000090")}
    ),
    "other nonce": lambda r: changed(
        r, headers={"signature-input": r.headers["signature-input"].replace('nonce="0', 'nonce="1')}
    ),
    "covered list shortened": lambda r: changed(
        r, headers={"signature-input": r.headers["signature-input"].replace(' "content-digest"', "")}
    ),
    "covered list reordered": lambda r: changed(
        r, headers={"signature-input": r.headers["signature-input"].replace('"@path" "@query"', '"@query" "@path"')}
    ),
    "other key id": lambda r: changed(
        r, headers={"signature-input": r.headers["signature-input"].replace('keyid="me"', 'keyid="you"')}
    ),
    "no signature": lambda r: changed(r, headers={"signature": ""}),
    "no signature input": lambda r: changed(r, headers={"signature-input": ""}),
    "garbage": lambda r: changed(r, headers={"signature": "fanlight=:!!!:", "signature-input": "((((("}),
    "zero signature": lambda r: changed(r, headers={"signature": "fanlight=:" + "A" * 86 + "==:"}),
    "two labels": lambda r: changed(
        r,
        headers={
            "signature": r.headers["signature"] + "," + r.headers["signature"].replace("fanlight=", "other="),
            "signature-input": r.headers["signature-input"]
            + ","
            + r.headers["signature-input"].replace("fanlight=", "other="),
        },
    ),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
def test_an_altered_request(http: TestClient, clock: Clock, tamper: Tamper) -> None:
    request = signed_request(clock)
    assert http.send(tamper(request)).status_code in (401, 403)
    assert http.send(changed(request)).status_code == 200, "the attempt must not have used up the real request's nonce"


def test_an_altered_body(http: TestClient, clock: Clock) -> None:
    answer = http.send(changed(signed_request(clock), content=b"jello"))
    assert (answer.status_code, slug(answer)) == (401, "body-altered")


def test_an_altered_streamed_body_is_refused_at_its_end(clock: Clock) -> None:
    with live(make_app, clock) as url, httpx.Client(auth=signer(clock), timeout=60) as http:
        headers = {"Content-Digest": content_digest(bytes(32))}
        answer = http.put(url + "/protocol/v1/stream/x", content=iter([b"abc"]), headers=headers)
        assert (answer.status_code, slug(answer)) == (401, "body-altered")


def test_a_foreign_key_under_a_members_name(http: TestClient, clock: Clock) -> None:
    foreign = Ed25519PrivateKey.from_private_bytes(bytes(32))
    answer = http.post("/protocol/v1/echo", content=b"x", auth=signer(clock, key=foreign))
    assert (answer.status_code, slug(answer)) == (401, "not-authentic")


def test_a_key_that_is_not_enrolled(http: TestClient, clock: Clock) -> None:
    answer = http.post("/protocol/v1/echo", content=b"x", auth=signer(clock, key_id="stranger"))
    assert (answer.status_code, slug(answer)) == (403, "not-enrolled")


OUTSIDE_THE_PROFILE: dict[str, dict[str, object]] = {
    "less covered": {"covered_component_ids": ("@method", "@authority", "@path", "content-digest")},
    "more covered": {"covered_component_ids": (*COVERED, "@scheme")},
    "nothing covered": {"covered_component_ids": ()},
    "a parameter of a component": {"covered_component_ids": (*COVERED[:4], '"content-digest";sf')},
    "no nonce": {"nonce": None},
    "short nonce": {"nonce": "0"},
    "endless nonce": {"nonce": "0" * 1000},
    "no expiry": {"expires": None},
    "other tag": {"tag": "other/1"},
    "no tag": {"tag": None},
    "no algorithm": {"include_alg": False},
    "other algorithm": {"algorithm": HMAC_SHA256, "key": KEY.public_key().public_bytes_raw()},
}


@pytest.mark.parametrize("changes", OUTSIDE_THE_PROFILE.values(), ids=OUTSIDE_THE_PROFILE.keys())
def test_a_member_that_leaves_the_profile(http: TestClient, clock: Clock, changes: dict[str, object]) -> None:
    answer = http.send(sign_by_hand(plain(), clock, **changes))
    assert (answer.status_code, slug(answer)) == (401, "not-authentic")


@pytest.mark.parametrize(
    "field", ["sha-512=:" + "A" * 86 + "==:", "sha-256=:AAAA:", "sha-256=:" + "A" * 43 + "=:, md5=:AA==:"]
)
def test_another_kind_of_digest(http: TestClient, clock: Clock, field: str) -> None:
    request = plain()
    request.headers["content-digest"] = field
    try:
        sign_by_hand(request, clock)
    except Exception:  # noqa: BLE001 the library refuses to sign some of them at all: send them unsigned
        request.headers["signature"] = "fanlight=:AAAA:"
    assert http.send(request).status_code == 401


def test_a_signature_that_holds_for_ever(http: TestClient, clock: Clock) -> None:
    request = sign_by_hand(plain(), clock, expires=datetime.fromtimestamp(clock() + 86_400, UTC))
    assert http.send(request).status_code == 401


@pytest.mark.parametrize("offset", [-301, 301])
def test_a_signature_outside_the_window(http: TestClient, clock: Clock, offset: int) -> None:
    answer = http.send(signed_request(lambda: clock() + offset))
    assert (answer.status_code, slug(answer)) == (401, "clock-skew")


def test_who_tells_a_device_a_later_time_without_tls_can_deliver_a_request_then_and_once(clock: Clock) -> None:
    """A server's time is not signed, and a device whose own clock may be years wrong has to believe it."""
    later, caught = clock.now + 86_400, []

    def on_the_line(request: httpx.Request) -> httpx.Response:
        caught.append(request)
        told = {"date": format_datetime(datetime.fromtimestamp(later, UTC), usegmt=True)}
        return httpx.Response(401, headers=told, json={"error": {"slug": "clock-skew", "message": "", "next": ""}})

    device = signer(clock)
    with httpx.Client(transport=httpx.MockTransport(on_the_line), auth=device) as http:
        http.post(BASE + "/protocol/v1/echo", content=b"hello")
    server = client(make_app(clock))
    assert slug(server.send(changed(caught[1]))) == "clock-skew", "not now"
    clock.now = later
    assert server.send(changed(caught[1])).status_code == 200, "but then"
    assert slug(server.send(changed(caught[1]))) == "replayed"
    assert server.send(changed(caught[1], content=b"jello")).status_code == 401, "and nothing else than what was signed"


# --- large bodies ---------------------------------------------------------------------------------------------------


def zeros(size: int, piece: int = 10_000) -> Iterator[bytes]:
    for _ in range(size // piece):
        yield bytes(piece)


def test_an_oversized_body_is_refused_by_its_length_before_it_is_read(clock: Clock) -> None:
    with live_app(make_app, clock) as (url, app):
        host, port = url.removeprefix("http://").split(":")
        request = httpx.Request(
            "PUT", url + "/protocol/v1/stream/x", headers={"Content-Digest": content_digest(bytes(32))}
        )
        signer(clock).sign(request)
        request.headers["Content-Length"] = str(10**12)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            raw.sendall(f"PUT /protocol/v1/stream/x HTTP/1.1\r\n{head}\r\n".encode())
            answer = raw.recv(65536)
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert app.state.streamed == 0


def test_an_oversized_body_without_a_length_is_stopped_at_the_limit(clock: Clock) -> None:
    with live_app(make_app, clock) as (url, app), httpx.Client(auth=signer(clock), timeout=60) as http:
        headers = {"Content-Digest": content_digest(bytes(32))}
        answer = http.put(url + "/protocol/v1/stream/x", content=zeros(4 * LIMIT), headers=headers)
    assert (answer.status_code, slug(answer)) == (413, "message-too-large")
    assert app.state.streamed <= LIMIT


@pytest.mark.parametrize("path", ["/step", "/login", "/api/v1/login-links"])
def test_an_oversized_form_without_a_length_from_a_stranger(path: str) -> None:
    with live(make_app) as url, httpx.Client(timeout=60) as http:
        answer = http.post(
            url + path, content=zeros(4 * LIMIT), headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "+5", "5, 5", "0x5", "five"])
def test_a_length_that_is_no_number(length: str, http: TestClient) -> None:
    request = plain("/step")
    request.headers["content-length"] = length
    assert http.send(request).status_code == 400


# --- the owner's session --------------------------------------------------------------------------------------------


def logged_in() -> tuple[TestClient, str]:
    app = make_app()
    http = client(app)
    http.get(app.state.owner_sessions.new_link())
    return http, http.get("/page").json()["csrf"]


@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": "guess"}, {"csrf": "é"}])
def test_a_post_by_a_foreign_page_without_the_csrf_token(form: dict[str, str]) -> None:
    http, _ = logged_in()
    answer = http.post("/step", data=form)
    assert (answer.status_code, slug(answer)) == (403, "csrf")
    assert http.app.state.changes == 0  # type: ignore[attr-defined]


def test_the_csrf_token_of_another_session() -> None:
    app = make_app()
    first, second = client(app), client(app)
    for http in (first, second):
        http.get(app.state.owner_sessions.new_link())
    other = second.get("/page").json()["csrf"]
    assert first.post("/step", data={"csrf": other}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8003"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_post_from_another_origin_even_with_the_token(headers: dict[str, str]) -> None:
    http, csrf = logged_in()
    answer = http.post("/step", data={"csrf": csrf}, headers=headers)
    assert (answer.status_code, slug(answer)) == (403, "foreign-origin")


def test_a_link_or_image_never_starts_a_step() -> None:
    http, csrf = logged_in()
    assert http.get("/step", params={"csrf": csrf}).status_code == 405


@pytest.mark.parametrize("name", ["token", "access_token", "api_token", "authorization"])
def test_the_api_token_in_an_address(http: TestClient, name: str) -> None:
    assert http.get("/page", params={name: TOKEN}).status_code == 401
    assert http.post("/step", params={name: TOKEN}).status_code == 401


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer \xff"]
)
def test_a_wrong_bearer_token(http: TestClient, value: str) -> None:
    assert http.get("/page", headers={"Authorization": value.encode("latin-1")}).status_code == 401


def test_a_wrong_bearer_token_does_not_fall_back_to_the_cookie() -> None:
    http, csrf = logged_in()
    answer = http.post("/step", data={"csrf": csrf}, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


def test_a_login_link_works_once() -> None:
    app = make_app()
    link = app.state.owner_sessions.new_link()
    assert client(app).get(link).status_code == 303
    thief = client(app)
    assert thief.get(link).status_code == 401
    assert thief.get("/page").status_code == 401


@pytest.mark.parametrize("cookie", ["", "guess", "a" * 4000])
def test_a_guessed_or_foreign_cookie(http: TestClient, cookie: str) -> None:
    assert http.get("/page", headers={"Cookie": f"fanlight-device-8001={cookie}"}).status_code == 401


def test_the_cookie_of_another_role_on_another_port() -> None:
    app, other = make_app(), make_app()
    cookie = app.state.owner_sessions.log_in(TOKEN)
    assert client(other).get("/page", headers={"Cookie": f"fanlight-device-8001={cookie}"}).status_code == 401
    assert client(app).get("/page", headers={"Cookie": f"fanlight-main-8000={cookie}"}).status_code == 401


def test_a_foreign_page_cannot_log_the_browser_in(http: TestClient) -> None:
    answer = http.post("/login", data={"token": TOKEN}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]", ""]
)
def test_dns_rebinding(http: TestClient, host: str) -> None:
    answer = http.get("/page", headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, slug(answer)) == (421, "unknown-host")


def test_two_host_headers() -> None:
    with live(make_app) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            raw.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            assert raw.recv(65536).split(b" ")[1] in (b"400", b"421")
