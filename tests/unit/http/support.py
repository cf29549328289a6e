"""A server on the foundation alone, in memory or on a real port, for the tests of HTTP behaviour."""

import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.testclient import TestClient

from fanlight.protocol.signing import raw_public_key
from fanlight.services.http.application import new_application
from fanlight.services.http.bodies import read_body, stream_body
from fanlight.services.http.owner import Owner, require_owner, require_owner_post
from fanlight.services.http.sessions import OwnerSessions
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.http.signing import SignedRequests

TOKEN = "the-api-token-of-the-tests"
METRICS_TOKEN = "the-metrics-token-of-the-tests"
BASE = "http://localhost:8000"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LIMIT = 100_000


class Clock:
    """Unix seconds that only the test moves."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def counting_nonces() -> Callable[[], str]:
    numbers = iter(range(1_000_000))
    return lambda: f"{next(numbers):032x}"


def make_app(
    clock: Clock | None = None,
    verifier_clock: Callable[[], float] | None = None,
    authorities: Collection[str] = ("localhost:8000",),
) -> FastAPI:
    clock = clock or Clock()
    app = new_application(
        "test",
        OwnerSessions("device", 8001, TOKEN, clock),
        metrics_token=METRICS_TOKEN,
        hosts=["lights.example"],
        large_bodies=["/protocol/"],
    )
    verifier = SignatureVerifier(
        lambda key_id: raw_public_key(KEY) if key_id == "me" else None, verifier_clock or clock, authorities
    )
    app.state.verifier = verifier
    app.state.changes = 0

    @app.get("/page")
    async def page(owner: Annotated[Owner, Depends(require_owner)]) -> dict[str, str]:
        return {"by": owner.by, "csrf": owner.csrf}

    @app.post("/step")
    async def step(request: Request, owner: Annotated[Owner, Depends(require_owner_post)]) -> dict[str, object]:
        request.app.state.changes += 1
        form = await request.form()
        return {"by": owner.by, "choice": form.get("choice")}

    @app.api_route("/protocol/v1/echo", methods=["GET", "POST", "PUT"])
    async def echo(request: Request) -> dict[str, object]:
        signed = verifier.verify_request(request)
        return {"key_id": signed.key_id, "length": len(await read_body(request, LIMIT))}

    @app.put("/protocol/v1/stream/{name:path}")
    async def stream(request: Request) -> dict[str, int]:
        verifier.verify_request(request)
        request.app.state.streamed = 0
        async for piece in stream_body(request, LIMIT):
            request.app.state.streamed += len(piece)
        return {"length": request.app.state.streamed}

    return app


def client(app: FastAPI, **options: object) -> TestClient:
    return TestClient(app, base_url=BASE, follow_redirects=False, **options)  # type: ignore[arg-type]


def signer(clock: Callable[[], float], key_id: str = "me", key: Ed25519PrivateKey = KEY) -> SignedRequests:
    return SignedRequests(key_id, key, clock, counting_nonces())


def signed_request(
    clock: Callable[[], float], method: str = "POST", path: str = "/protocol/v1/echo", content: bytes = b"hello"
) -> httpx.Request:
    """A request as a device sends it, ready to be tampered with."""
    request = httpx.Request(method, BASE + path, content=content)
    signer(clock).sign(request)
    return request


def slug(response: httpx.Response) -> str:
    return str(response.json()["error"]["slug"])


@contextmanager
def live_app(make: Callable[..., FastAPI], *arguments: object) -> Iterator[tuple[str, FastAPI]]:
    """``make(*arguments, authorities=…)`` under a real uvicorn on a free loopback port; yields its base URL, and it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        authority = f"127.0.0.1:{listener.getsockname()[1]}"
        app = make(*arguments, authorities=[authority])
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.01)
            yield f"http://{authority}", app
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def live(make: Callable[..., FastAPI], *arguments: object) -> Iterator[str]:
    """As ``live_app``, for tests that need only the URL."""
    with live_app(make, *arguments) as (url, _app):
        yield url
