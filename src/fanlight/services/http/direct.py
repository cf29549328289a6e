"""What carries requests to one server: a connection, kept for the next request, and httptools to read what comes.

httpx's own transport makes each request and each answer three times over (as its own, as httpcore's and as h11's), in
Python: a small message took twice as long as here (``docs/adr/0039-http-client.md``). What goes in and comes out is
httpx's all the same. The parser is the one that our servers use: llhttp, as strict as h11, in C.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias

import httptools
import httpx

MOST_IDLE: Final = 20
IDLE_S: Final = 3.0
"""Idle connections are given up before servers do that, after five seconds: one that has much to do would close a line
on which it has not read yet that it is asked something."""
_PIECE: Final = 1 << 16
_BESIDE: Final = 1 << 16
"""So much may come that is no body: status, fields, trailers; between chunks, more only if the chunks are longer."""
_NO_FIELD: Final = re.compile(rb"[\r\n\0]")
_PORTS: Final = {"http": 80, "https": 443}
SocketOptions: TypeAlias = Iterable[tuple[int, int, int]]
Server: TypeAlias = tuple[str, str, int]
"""Scheme, host and port."""
_Address: TypeAlias = tuple[Any, ...]
_Place: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]
"""As ``socket.getaddrinfo`` gives them."""


class DirectTransport(httpx.BaseTransport):
    """Requests to servers that are reached without a proxy; safe to use from many threads.

    Each step is given the time that the request's extension ``timeout`` names for it, as by httpx: to connect, each
    send, and each time that something comes. Errors are httpx's too.

    Args:
        certificates: whom to trust to name a server.
        socket_options: what the kernel is told of each connection.
    """

    def __init__(self, certificates: ssl.SSLContext, socket_options: SocketOptions) -> None:
        certificates.set_alpn_protocols(["http/1.1"])
        self._certificates = certificates
        self._socket_options = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *socket_options)
        self._idle: list[tuple[socket.socket, Server, float]] = []
        self._busy: set[socket.socket] = set()
        self._closed = self._is_broken_off = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer, whose body comes as it is read.

        Raises:
            httpx.TransportError: it cannot be sent, or no answer comes.
        """
        due, url = request.extensions["timeout"], request.url
        server = (url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])
        line = self._kept(server) or self._connect(server, due["connect"])
        try:
            is_sent = _send(line, request, due["write"])
            line.settimeout(due["read"])
            answer = _Answer(line)
            answer.read_head()
        except BaseException:
            self._give_up(line)
            raise

        def over() -> None:
            if is_sent and answer.is_last_word and not self._closed and len(self._idle) < MOST_IDLE:
                self._busy.discard(line)
                self._idle.append((line, server, time.monotonic()))
            else:
                self._give_up(line)

        return httpx.Response(
            answer.status, headers=answer.fields, stream=_Body(answer, over), extensions={"socket": line}
        )

    def close(self) -> None:
        """Close all connections that nobody uses, and the others when they are used no more."""
        self._closed = True
        while self._idle:
            self._idle.pop()[0].close()

    def break_off(self) -> None:
        """End what is waited for, from any thread, and ask nothing any more."""
        self._is_broken_off = True
        for line in tuple(self._busy):
            with suppress(OSError):  # it has ended
                # Not ssl's own way, which has who writes at this moment go on in the clear.
                socket.socket.shutdown(line, socket.SHUT_RDWR)

    def _use(self, line: socket.socket) -> None:
        """From now on ``break_off`` ends what is waited for on it.

        Raises:
            httpx.ConnectError: it was called already; the connection is closed.
        """
        self._busy.add(line)
        if self._is_broken_off:
            self._give_up(line)
            raise httpx.ConnectError("broken off")

    def _give_up(self, line: socket.socket) -> None:
        self._busy.discard(line)
        line.close()

    def _kept(self, server: Server) -> socket.socket | None:
        """A connection to ``server`` that was kept, and that it has not closed since."""
        while self._idle:
            try:
                line, where, since = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if where == server and time.monotonic() - since < IDLE_S and not _has_news(line):
                self._use(line)
                return line
            line.close()
        return None

    def _connect(self, server: Server, due_s: float | None) -> socket.socket:
        scheme, host, port = server
        with _told_as(httpx.ConnectTimeout, httpx.ConnectError):
            line = self._reach(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), due_s)
            return self._secure(line, host) if scheme == "https" else line

    def _reach(self, places: Sequence[_Place], due_s: float | None) -> socket.socket:
        """A connection to the first place where somebody answers, or the last one's error."""
        for family, kind, protocol, _, address in places[:-1]:
            with suppress(OSError):
                return self._reach_one(socket.socket(family, kind, protocol), address, due_s)
        family, kind, protocol, _, address = places[-1]
        return self._reach_one(socket.socket(family, kind, protocol), address, due_s)

    def _reach_one(self, line: socket.socket, address: _Address, due_s: float | None) -> socket.socket:
        try:
            for level, option, value in self._socket_options:
                line.setsockopt(level, option, value)
            line.setblocking(False)
            problem = line.connect_ex(address)
            self._use(line)  # not before: what has not begun could not be ended
            _await_connection(line, problem, due_s)
            line.settimeout(due_s)
        except BaseException:
            self._give_up(line)
            raise
        return line

    def _secure(self, line: socket.socket, host: str) -> socket.socket:
        try:
            secured = self._certificates.wrap_socket(line, server_hostname=host, do_handshake_on_connect=False)
        except BaseException:
            self._give_up(line)
            raise
        self._busy.discard(line)  # it is an empty shell now
        self._use(secured)
        try:
            secured.do_handshake()
        except BaseException:
            self._give_up(secured)
            raise
        return secured


class _Answer:
    """What comes over a connection after a request, up to the end of its answer; httptools calls ``on_…``.

    Attributes:
        status, fields: of the answer, once ``read_head`` has returned.
    """

    def __init__(self, line: socket.socket) -> None:
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self._line = line
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._beside = 0
        self._has_head = self._has_end = self._has_more = self._ends_with_line = False

    @property
    def is_last_word(self) -> bool:
        """Has all of it come, nothing behind it, and may the connection be used again?"""
        return self._has_end and not (self._has_more or self._ends_with_line)

    def read_head(self) -> None:
        """Read until the answer's fields are there.

        Raises:
            httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError: they never are.
        """
        while not self._has_head:
            self._read()

    def body(self) -> Iterator[bytes]:
        """The body, as it comes; errors as in ``read_head``."""
        while self._pieces or not self._has_end:
            if self._pieces:
                yield self._pieces.popleft()
            else:
                self._read()

    def _read(self) -> None:
        with _told_as(httpx.ReadTimeout, httpx.ReadError):
            data = self._line.recv(_PIECE)
        if not data:
            if not self._has_head:
                raise httpx.RemoteProtocolError("the server has closed the connection without an answer")
            if not self._ends_with_line:
                raise httpx.RemoteProtocolError("the server has closed the connection before the end of its answer")
            self._has_end = True
            return
        self._beside += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._has_more = True
            if not self._has_end:
                raise httpx.RemoteProtocolError(f"the server's answer is none: {error}") from error
        if self._beside > _BESIDE:
            raise httpx.RemoteProtocolError("the server's answer has too much beside its body")

    def on_message_begin(self) -> None:
        """An informational answer, the answer, or one that nobody has asked for."""
        if self._has_end:
            self._has_more = True
        else:
            self.fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        if not self._has_head:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """All fields."""
        status = self._parser.get_status_code()
        if status >= 200 and not self._has_head:
            self.status, self._has_head = status, True
            names = {name.lower() for name, _ in self.fields}
            bounded = status in (204, 304) or not names.isdisjoint((b"content-length", b"transfer-encoding"))
            self._ends_with_line = not bounded

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._has_end:
            self._beside = max(0, self._beside - 2 * len(body))
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self._has_head and not self._has_end:
            self._has_end = True
            self._has_more = not self._parser.should_keep_alive()


class _Body(httpx.SyncByteStream):
    """The body of an answer; ``over`` is called when nobody reads on."""

    def __init__(self, answer: _Answer, over: Callable[[], None]) -> None:
        self._answer = answer
        self._over = over

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.body()

    def close(self) -> None:
        self._over()


def _has_news(line: socket.socket) -> bool:
    """On a connection on which nothing was asked, that can only be its end."""
    return _is_ready(line, select.POLLIN, 0)


def _await_connection(line: socket.socket, problem: int, due_s: float | None) -> None:
    """See a connection through that was begun with this result; errors as in ``socket.connect``."""
    if problem == errno.EINPROGRESS:
        if not _is_ready(line, select.POLLOUT, due_s):
            raise TimeoutError("nobody answers")
        problem = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, os.strerror(problem))


def _is_ready(line: socket.socket, what_for: int, due_s: float | None) -> bool:
    """Is it, within so many seconds (None: however long it takes), or has it ended?"""
    poll = select.poll()
    poll.register(line, what_for)
    return bool(poll.poll(None if due_s is None else due_s * 1000))


def _send(line: socket.socket, request: httpx.Request, due_s: float | None) -> bool:
    """False: the server has closed the connection before all was sent; it may have answered before."""
    line.settimeout(due_s)
    waiting = bytearray(_head(request))
    for piece in _pieces(request):
        if len(waiting) + len(piece) > _PIECE:
            if not (_sent(line, waiting) and _sent(line, piece)):
                return False
            waiting.clear()
        else:
            waiting += piece
    return _sent(line, waiting)


def _sent(line: socket.socket, data: bytes | bytearray) -> bool:
    """One send after the other, each in its own time: ``sendall`` would have to end within that of one."""
    try:
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                at += line.send(view[at:])
    except TimeoutError as error:
        raise httpx.WriteTimeout("the server takes no more") from error
    except OSError:
        return False
    return True


def _head(request: httpx.Request) -> bytes:
    words = [request.method.encode("ascii"), request.url.raw_path]
    fields = request.headers.raw
    if _NO_FIELD.search(b"".join([*words, *itertools.chain(*fields)])):
        raise httpx.LocalProtocolError("a field of the request has a line break in it")
    lines = [b"%b: %b" % field for field in fields]
    return b"%b HTTP/1.1\r\n%b\r\n\r\n" % (b" ".join(words), b"\r\n".join(lines))


def _pieces(request: httpx.Request) -> Iterator[bytes]:
    """The body; in chunks if its length is not known before (RFC 9112, section 7.1).

    Raises:
        httpx.LocalProtocolError: it is not as long as the request says.
    """
    assert isinstance(request.stream, httpx.SyncByteStream)
    if "transfer-encoding" in request.headers:
        yield from (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in request.stream if piece)
        yield b"0\r\n\r\n"
        return
    left = int(request.headers.get("content-length", 0))
    for piece in request.stream:
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise httpx.LocalProtocolError("a request's body is not as long as it says")


@contextmanager
def _told_as(late: type[httpx.TransportError], broken: type[httpx.TransportError]) -> Iterator[None]:
    """What the operating system says, as httpx would."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error) or "timed out") from error
    except (OSError, UnicodeError) as error:  # the latter: a name that cannot be one of a host
        raise broken(str(error)) from error
