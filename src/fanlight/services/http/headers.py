"""Response headers that tell browsers to be strict with our pages.

No inline script or style runs (so a class name or device name that reaches a page as markup stays inert), nothing is
loaded from elsewhere, no foreign page may frame ours, and owners' pages stay out of caches.

``Referrer-Policy`` is ``same-origin``, not ``no-referrer``: under the latter, browsers send ``Origin: null`` with our
own forms (Fetch standard, "append a request Origin header"), and the origin check of ``sessions`` would refuse them.
"""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
STATIC_PREFIX = "/static/"


class SecurityHeaders:
    """ASGI middleware that sets the headers above; a route may set its own ``Cache-Control``, but no weaker policy."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Add the headers to the answer."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        caching = "no-cache" if scope["path"].startswith(STATIC_PREFIX) else "no-store"

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", caching)
            await send(message)

        return self.app(scope, receive, add)
