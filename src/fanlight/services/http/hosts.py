"""Only requests that name this server are answered.

A page on a foreign site can make its own domain name point to 127.0.0.1 (DNS rebinding) and then read our pages as its
own; the ``Host`` header still carries the foreign name.  Ports do not matter to that check.  They do for signed
requests: two servers may share a host, so ``authorities_of`` says under which names, ports included, one is meant.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fanlight.services.http.problems import Problem, respond

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


def host_name(authority: str) -> str:
    """The host of ``host`` or ``host:port``, in lower case; IPv6 keeps its brackets."""
    if authority.startswith("["):
        return authority[: authority.find("]") + 1].lower()
    return authority.partition(":")[0].lower()


@functools.lru_cache(maxsize=16)
def authority_of(url: str) -> str:
    """The ``@authority`` of an absolute URL: host in lower case, and the port unless it is the scheme's own.

    RFC 9421, section 2.2.3.  Raises ``ValueError`` if the port is none.
    """
    parts = urlsplit(url)
    host = host_name(parts.netloc.rpartition("@")[2])
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def authorities_of(public_url: str, host: str, port: int) -> frozenset[str]:
    """The authorities that mean this server: of its public URL (also behind a proxy), and where it listens."""
    listens = f"[{host}]" if ":" in host else host
    return frozenset({authority_of(public_url), authority_of(f"http://{listens}:{port}")})


class HostCheck:
    """ASGI middleware: 421 unless ``Host`` is a loopback name or one of ``hosts`` (names without ports)."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self.app = app
        self.hosts = LOOPBACK_HOSTS | {host.lower() for host in hosts}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, or say that the request is for somebody else."""
        if scope["type"] not in ("http", "websocket"):
            return self.app(scope, receive, send)
        named = Headers(raw=scope["headers"]).getlist("host")
        if len(named) == 1 and host_name(named[0]) in self.hosts:
            return self.app(scope, receive, send)
        problem = Problem(
            421,
            "unknown-host",
            f"This server is not {named[0][:100]!r}." if named else "The request names no host.",
            "Open it by a name it knows: localhost, or a host in its settings.",
        )
        return respond(Request(scope), problem)(scope, receive, send)
