"""An empty application with the whole foundation under it, in the order that keeps its promises.

From outside to inside: measuring, request ids, headers (on every answer, errors included), hosts, body limit, plain
routes; then FastAPI, its own layers, unexpected errors, all other routes.

Thousands of devices wait for news, and each layer that waits with them takes memory for each of them. So plain routes
come before FastAPI's layers, and a layer that has nothing left to do once it has passed a request on does not wait for
what is within it, but returns it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from fanlight.services.http.headers import SecurityHeaders
from fanlight.services.http.hosts import HostCheck
from fanlight.services.http.limits import FORM_LIMIT_BYTES, BodyLimit
from fanlight.services.http.metrics import Measured, Metrics, metrics_router
from fanlight.services.http.owner import install_owner
from fanlight.services.http.plain_routes import PlainRoutes
from fanlight.services.http.problems import install_problems
from fanlight.services.http.request_ids import RequestIds
from fanlight.services.http.sessions import OwnerSessions

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Layer = Callable[[ASGIApp], ASGIApp]
_NO_TELEMETRY: Final[Any] = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)
"""Nothing of a request goes to whom an environment variable, or some other library, names."""


class Application(FastAPI):
    """FastAPI under layers of ours, which are around its own; those of ``add_middleware`` would be within them.

    Attributes:
        layers: from inside to outside.
    """

    layers: Sequence[Layer] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As FastAPI's and Starlette's, of which two would wait with each request; there is no root path."""
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        scope["app"] = self
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Called by Starlette before the first request."""
        app = super().build_middleware_stack()
        for layer in self.layers:
            app = layer(app)
        return app


def new_application(
    title: str,
    sessions: OwnerSessions,
    *,
    metrics_token: str,
    hosts: Collection[str] = (),
    large_bodies: Sequence[str] = (),
    form_limit_bytes: int = FORM_LIMIT_BYTES,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """A FastAPI application with errors, headers, host check, body limit, metrics and the owner's login installed.

    Its ``state.metrics`` is where a role registers what it measures itself.

    Args:
        title: its name.
        sessions: the owner's login.
        metrics_token: opens ``/metrics``, and nothing else.
        hosts: names (without ports) by which this server is known, besides loopback.
        large_bodies: path prefixes whose routes bound their bodies themselves.
        form_limit_bytes: most bytes in any other body.
        lifespan: as FastAPI's.
    """
    app = Application(
        title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, telemetry=_NO_TELEMETRY
    )
    app.state.metrics = metrics = Metrics()
    install_problems(app)
    app.layers = (
        lambda within: PlainRoutes(within, app.routes),
        lambda within: BodyLimit(within, form_limit_bytes, large_bodies),
        lambda within: HostCheck(within, hosts),
        SecurityHeaders,
        RequestIds,
        lambda within: Measured(within, metrics),
    )
    install_owner(app, sessions)
    app.include_router(metrics_router(metrics, metrics_token))
    return app
