"""What carries requests to one server: the standard library's client, over connections that are kept.

httpx's own transport makes each request and each answer three times over (as its own, as httpcore's and as h11's): a
small message took twice as long as here (``docs/adr/0039-http-client.md``). What goes in and comes out is httpx's all
the same, so whoever asks does not see the difference.
"""

from __future__ import annotations

import itertools
import select
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final, TypeAlias

import httpx

_PIECE: Final = 1 << 16
MOST_IDLE: Final = 20
IDLE_S: Final = 3.0
"""Idle connections are given up before servers do that, after five seconds: one that has much to do would close a line
on which it has not read yet that it is asked something."""
SocketOptions: TypeAlias = Iterable[tuple[int, int, int]]
Server: TypeAlias = tuple[str, str, int | None]
"""Scheme, host and port."""


class DirectTransport(httpx.BaseTransport):
    """Requests to servers that are reached without a proxy; safe to use from many threads.

    Each step is given the time that the request's extension ``timeout`` names for it, as by httpx: to connect, each
    send, and each time that something comes. Errors are httpx's too.

    Args:
        certificates: whom to trust to name a server.
        socket_options: what the kernel is told of each connection.
    """

    def __init__(self, certificates: ssl.SSLContext, socket_options: SocketOptions) -> None:
        self._certificates = certificates
        self._socket_options = tuple(socket_options)
        self._idle: list[tuple[HTTPConnection, Server, float]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer, whose body comes as it is read.

        Raises:
            httpx.TransportError: it cannot be sent, or no answer comes.
        """
        due = request.extensions["timeout"]
        server = (request.url.scheme, request.url.raw_host.decode(), request.url.port)
        line = self._kept(server) or self._connect(server, due["connect"])
        socket = line.sock
        try:
            is_sent = _send(line, request, due["write"])
            answer = _receive(line, due["read"])
        except BaseException:
            line.close()
            raise

        def over(is_read: bool) -> None:
            if is_sent and is_read and not answer.will_close:
                self._keep(line, server)
            else:
                line.close()

        return httpx.Response(
            answer.status,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.getheaders()],
            stream=_Body(answer, over),
            extensions={"socket": socket},
        )

    def close(self) -> None:
        """Close all connections that nobody uses."""
        while self._idle:
            self._idle.pop()[0].close()

    def _keep(self, line: HTTPConnection, server: Server) -> None:
        if len(self._idle) < MOST_IDLE:
            self._idle.append((line, server, time.monotonic()))
        else:
            line.close()

    def _kept(self, server: Server) -> HTTPConnection | None:
        """A connection to ``server`` that was kept, and that it has not closed since."""
        while self._idle:
            try:
                line, where, since = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if where == server and time.monotonic() - since < IDLE_S and not _has_ended(line):
                return line
            line.close()
        return None

    def _connect(self, server: Server, due_s: float | None) -> HTTPConnection:
        scheme, host, port = server
        if scheme == "https":
            line: HTTPConnection = HTTPSConnection(host, port, timeout=due_s, context=self._certificates)
        else:
            line = HTTPConnection(host, port, timeout=due_s)
        try:
            with _told_as(httpx.ConnectTimeout, httpx.ConnectError):
                line.connect()
                for level, option, value in self._socket_options:
                    line.sock.setsockopt(level, option, value)
        except BaseException:
            line.close()
            raise
        return line


class _Body(httpx.SyncByteStream):
    """The body of an answer as it comes; ``over`` hears whether all of it was read."""

    def __init__(self, answer: HTTPResponse, over: Callable[[bool], None]) -> None:
        self._answer = answer
        self._over = over

    def __iter__(self) -> Iterator[bytes]:
        with _told_as(httpx.ReadTimeout, httpx.ReadError):
            while piece := self._answer.read1(_PIECE):
                yield piece
        if self._answer.length:
            raise httpx.RemoteProtocolError("the server has closed the connection before the end of its answer")

    def close(self) -> None:
        is_read = self._answer.length == 0 or (self._answer.chunked and self._answer.isclosed())
        self._answer.close()
        self._over(is_read)


def _has_ended(line: HTTPConnection) -> bool:
    """Has the server closed a connection on which it is asked nothing?"""
    poll = select.poll()
    poll.register(line.sock, select.POLLIN)
    return bool(poll.poll(0))


def _send(line: HTTPConnection, request: httpx.Request, due_s: float | None) -> bool:
    """False: the server has closed the connection before all was sent; it may have answered before."""
    try:
        line.putrequest(request.method, request.url.raw_path.decode("ascii"), skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.raw:
            line.putheader(name, value)
    except ValueError as error:  # a character that has no place in a request
        raise httpx.LocalProtocolError(str(error)) from error
    line.sock.settimeout(due_s)
    try:
        line.endheaders()
        for piece in _pieces(request):
            rest = memoryview(piece)
            while rest:  # one send at a time, for ``sendall`` would have to end within the time of one
                rest = rest[line.sock.send(rest) :]
    except TimeoutError as error:
        raise httpx.WriteTimeout("the server takes no more") from error
    except OSError:
        return False
    return True


def _pieces(request: httpx.Request) -> Iterable[bytes]:
    """The body, in chunks if its length is not known before (RFC 9112, section 7.1)."""
    assert isinstance(request.stream, httpx.SyncByteStream)
    if "transfer-encoding" not in request.headers:
        return request.stream
    chunks = (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in request.stream if piece)
    return itertools.chain(chunks, [b"0\r\n\r\n"])


def _receive(line: HTTPConnection, due_s: float | None) -> HTTPResponse:
    line.sock.settimeout(due_s)
    with _told_as(httpx.ReadTimeout, httpx.ReadError):
        return line.getresponse()


@contextmanager
def _told_as(late: type[httpx.TransportError], broken: type[httpx.TransportError]) -> Iterator[None]:
    """What the standard library raises, as httpx would."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error) or "timed out") from error
    except HTTPException as error:
        raise httpx.RemoteProtocolError(str(error) or type(error).__name__) from error
    except OSError as error:
        raise broken(str(error)) from error
