"""No body without a limit: forms and JSON are small, and whoever sends more is stopped before it is held in memory.

Routes that read large signed bodies themselves (``bodies.stream_body``) or take pictures are exempt by prefix.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanlight.errors import MalformedMessage, MessageTooLarge
from fanlight.services.http.problems import as_problem, respond

FORM_LIMIT_BYTES = 1 << 16


class BodyLimit:
    """ASGI middleware: 413 for a body above ``limit_bytes``, unless the path starts with one of ``exempt``."""

    def __init__(self, app: ASGIApp, limit_bytes: int = FORM_LIMIT_BYTES, exempt: Sequence[str] = ()) -> None:
        self.app = app
        self.limit_bytes = limit_bytes
        self.exempt = tuple(exempt)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the request on, its body known to be short."""
        if scope["type"] != "http" or scope["path"].startswith(self.exempt):
            return self.app(scope, receive, send)
        return self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            length = declared_length(Headers(scope=scope))
            if length is not None and length > self.limit_bytes:
                raise too_large(self.limit_bytes)
            checked = receive if length is not None else await self._held(receive)
        except (MessageTooLarge, MalformedMessage) as error:
            await respond(Request(scope), as_problem(error), {"Connection": "close"})(scope, receive, send)
            return
        await self.app(scope, checked, send)

    async def _held(self, receive: Receive) -> Receive:
        """Without a declared length the body is read here: an error raised later would surface as a failed parse."""
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return _replay(message, receive)
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.limit_bytes:
                raise too_large(self.limit_bytes)
        return _replay({"type": "http.request", "body": body, "more_body": False}, receive)


def declared_length(headers: Headers) -> int | None:
    """``Content-Length`` in bytes, 0 where there can be no body, None for a body of unknown length.

    Raises:
        MalformedMessage: the header is not a number, or is given twice.
    """
    given = headers.getlist("content-length")
    if not given:
        return None if "transfer-encoding" in headers else 0
    if len(given) > 1 or not (given[0].isascii() and given[0].isdigit()):
        raise MalformedMessage("Content-Length is not one number.")
    return int(given[0][:20])


def too_large(limit_bytes: int) -> MessageTooLarge:
    """The error for a body above ``limit_bytes``."""
    return MessageTooLarge(f"The body is longer than the {limit_bytes:,} bytes that are accepted here.")


def _replay(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
