"""What a process counts and measures, for Prometheus: ``GET /metrics``, for the owner and for whoever has one file.

1. Each application has a registry of its own: several of them can live in one process.
2. Labels are few and known beforehand: a route's template, never the path that was asked for; states and reasons of our
   own.  No device's id or name is a label: whoever draws charts need not know who took part.
3. ``metrics-token`` (owner-only file, made at first start) opens this one page and nothing else.  A monitoring server
   gets that file, and not the ``api-token``, which may change things.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanlight.services.http.owner import require_owner
from fanlight.services.http.sessions import kept_token, same
from fanlight.services.http.threads import in_thread

METRICS_PATH: Final = "/metrics"
METRICS_TOKEN_FILE: Final = Path("metrics-token")
NO_ROUTE: Final = "none"
"""The label of requests that reached no route: not found, for another host, too long."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


disable_created_metrics()  # a second series for each one, which nobody draws


class Metrics:
    """The registry of one application, and what is measured of every request.

    Attributes:
        registry: where a role registers collectors of its own.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._seconds = Histogram(
            "fanlight_http_request_seconds",
            "From a request's first byte to its answer's last one; offers, orders and events wait for news.",
            ("route", "method", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._received = Counter(
            "fanlight_received_bytes", "Bytes of bodies of requests.", ("route",), registry=self.registry
        )
        self._sent = Counter("fanlight_sent_bytes", "Bytes of bodies of answers.", ("route",), registry=self.registry)

    def note(self, scope: Scope, status: int, seconds: float, received: int, sent: int) -> None:
        """One request has been answered."""
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._seconds.labels(route, method, str(status)).observe(seconds)
        self._received.labels(route).inc(received)
        self._sent.labels(route).inc(sent)

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware: every request is timed, and the bytes of its bodies counted."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and count."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, counted = time.perf_counter(), _Counted(receive, send)
        try:
            await self.app(scope, counted.receive, counted.send)
        finally:
            self.metrics.note(
                scope, counted.status, time.perf_counter() - began, counted.received_bytes, counted.sent_bytes
            )


class _Counted:
    """What comes and goes for one request; it waits as long as that does, so it is small."""

    __slots__ = ("_receive", "_send", "received_bytes", "sent_bytes", "status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.received_bytes = self.sent_bytes = 0
        self.status = 499  # of a client that has gone: nginx's number

    async def receive(self) -> Message:
        message = await self._receive()
        self.received_bytes += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.sent_bytes += len(message.get("body", b""))
        await self._send(message)


def metrics_token(folder: Path) -> str:
    """The token that opens ``/metrics`` alone; made in ``folder`` at first start.

    Raises:
        StorageError: others can read the file, or it cannot be read or made.
    """
    return kept_token(folder / METRICS_TOKEN_FILE)


def metrics_router(metrics: Metrics, token: str) -> APIRouter:
    """The page, for the owner and for the holder of ``token``."""
    router = APIRouter()

    @router.get(METRICS_PATH)
    async def show(request: Request) -> Response:
        if not _has_token(request.headers, token):
            await require_owner(request)
        text = await in_thread(metrics.text)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    return router


def _has_token(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and same(given.strip(), token)
