"""Response headers that tell browsers to be strict with our pages.

No inline script or style runs (so a class name or device name that reaches a page as markup stays inert), nothing is
loaded from elsewhere, no foreign page may frame ours, and owners' pages stay out of caches.

A file that is a page of its own, with its style sheet in it, may be shown as a ``closed_document``: in an origin of its
own, so without our cookies, scripts, forms or anything to fetch, and with this one style sheet alone.

``Referrer-Policy`` is ``same-origin``, not ``no-referrer``: under the latter, browsers send ``Origin: null`` with our
own forms (Fetch standard, "append a request Origin header"), and the origin check of ``sessions`` would refuse them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_POLICY = b"content-security-policy"
_ALWAYS = {
    _POLICY: CONTENT_SECURITY_POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
"""As they go over the wire: every answer has them."""
_CLOSED = re.compile(rb"sandbox; default-src 'none'; style-src 'sha256-[0-9A-Za-z+/]{43}='; frame-ancestors 'none'")
_CACHING = b"cache-control"
STATIC_PREFIX = "/static/"


def closed_document(style: str) -> str:
    """The policy of a page whose only ``<style>`` has this text; any other text in one has no effect."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"sandbox; default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"


class SecurityHeaders:
    """ASGI middleware that sets the headers above.

    A route may set its own ``Cache-Control``, and the policy of a ``closed_document``, but no other policy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Add the headers to the answer."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        caching = b"no-cache" if scope["path"].startswith(STATIC_PREFIX) else b"no-store"

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = [(name.lower(), value) for name, value in message["headers"]]
                own = [field for field in fields if field[0] not in _ALWAYS]
                if all(name != _CACHING for name, _ in own):
                    own.append((_CACHING, caching))
                closed = {name: value for name, value in fields if name == _POLICY and _CLOSED.fullmatch(value)}
                message["headers"] = [*own, *(_ALWAYS | closed).items()]
            await send(message)

        return self.app(scope, receive, add)
