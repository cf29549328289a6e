"""Requests to one server over connections that are kept, and nothing else.

A client of httpx's would do the same, and keep cookies, merge addresses and follow redirects besides, which for a small
message takes longer than to send it. What it is made of is the same: its requests, its transports, its way to sign.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from fanlight.services.http.direct import IDLE_S, MOST_IDLE, DirectTransport
from fanlight.services.http.hosts import LOOPBACK_HOSTS
from fanlight.services.http.silence import SOCKET_OPTIONS

_KEPT: Final = httpx.Limits(max_connections=100, max_keepalive_connections=MOST_IDLE, keepalive_expiry=IDLE_S)
_HERE: Final = frozenset({*LOOPBACK_HOSTS, "::1"})


class Wire:
    """The way to one server.

    Args:
        url: its base address.
        headers: of every request.
        check: sees every answer before its body is read, and raises if it must not be.
        transport: replaces the network, for tests.

    Attributes:
        transport: what carries the requests.
        is_broken_off: was ``break_off`` called?
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        check: Callable[[httpx.Response], None],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = headers
        self._check = check
        self.transport = transport or _transport_to(url)
        self.is_broken_off = False

    @contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterator[bytes],
        headers: Mapping[str, str],
        auth: httpx.Auth,
        timeout: httpx.Timeout,
    ) -> Generator[httpx.Response, None, None]:
        """Send a request that ``auth`` signs; its answer, whose body is read inside the block.

        Raises:
            httpx.TransportError, httpx.InvalidURL: it cannot be sent, or no answer comes. What ``check`` raises.
        """
        request = httpx.Request(
            method,
            self._url + path,
            content=content,
            headers={**self._headers, **headers},
            extensions={"timeout": timeout.as_dict()},
        )
        flow = auth.sync_auth_flow(request)
        response = self._send(next(flow))
        try:
            while (again := _after(flow, response)) is not None:
                response.close()
                response = self._send(again)
            yield response
        finally:
            response.close()

    def break_off(self) -> None:
        """End whatever is waited for over it, from any thread; behind a proxy, it is left to end by itself."""
        self.is_broken_off = True
        if isinstance(self.transport, DirectTransport):
            self.transport.break_off()

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, request: httpx.Request) -> httpx.Response:
        response = self.transport.handle_request(request)
        response.request = request
        try:
            self._check(response)
        except BaseException:
            response.close()
            raise
        return response


def _transport_to(url: str) -> httpx.BaseTransport:
    trusted, proxy = certificates(trust_env=is_elsewhere(url)), _proxy(url)
    if proxy is None:
        return DirectTransport(trusted, SOCKET_OPTIONS)
    return httpx.HTTPTransport(verify=trusted, proxy=proxy, limits=_KEPT, socket_options=SOCKET_OPTIONS)


def _after(flow: Generator[httpx.Request, httpx.Response, None], response: httpx.Response) -> httpx.Request | None:
    """The request that is to follow an answer, if one is."""
    try:
        return flow.send(response)
    except StopIteration:
        return None


@functools.cache
def certificates(*, trust_env: bool) -> ssl.SSLContext:
    """Whom this machine trusts to name a server; read once, for it takes longer than a request.

    Args:
        trust_env: may the environment name other certificates?
    """
    return httpx.create_ssl_context(trust_env=trust_env)


def is_elsewhere(url: str) -> bool:
    """Is it not this machine? A proxy of the environment is for the world outside."""
    return urlsplit(url).hostname not in _HERE


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address."""
    parts, known = urlsplit(url), getproxies()
    if not is_elsewhere(url) or proxy_bypass(parts.hostname or ""):
        return None
    return known.get(parts.scheme, known.get("all"))
