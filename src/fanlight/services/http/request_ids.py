"""Every request has an id: log lines that it causes carry it as ``request``, its answer as ``X-Request-Id``.

The id is made here and never taken from the request: what strangers write does not get into the log.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

REQUEST_ID: Final = "X-Request-Id"


class RequestIds:
    """ASGI middleware that gives out the ids: 8 hexadecimal digits, enough to find a line in a day's log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer under an id."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        request = secrets.token_hex(4)

        async def name(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request
            await send(message)

        bind_contextvars(request=request)  # for good: the web server runs each request in a context of its own
        return self.app(scope, receive, name)
