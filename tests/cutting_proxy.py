"""A TCP proxy that does to connections what bad lines do: it cuts them, or lets them die without a word."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

from fanlight.services.http.direct import DirectTransport, Server
from fanlight.services.http.remote import Remote
from fanlight.services.http.silence import SOCKET_OPTIONS
from fanlight.services.http.wire import Wire, certificates

HOST = "127.0.0.1"


@dataclass
class _Line:
    """One connection: how many bytes it hands on before it is cut, if it is, and whether it has died silently.

    ``age`` is that of the proxy when it came.
    """

    left: int | None
    age: int
    silent: bool = False


class CuttingProxy:
    """Hands on whatever comes to ``port``; runs in a thread of its own between ``start`` and ``stop``.

    A connection that dies silently stays open at both ends, takes whatever comes, and hands nothing on any more, not
    even that one end has closed it: as behind a router that has forgotten it.

    Attributes:
        cuts: after so many bytes, both ways together, one connection after the other is cut; the later ones are not.
        swallows: what is on its way to the server; whichever connection brings the piece with one of them dies
            silently with that piece, once for each.
        silent: while it is set, every connection that brings anything dies silently, also a new one.
        up, down: bytes handed on to the server, and from it.
    """

    def __init__(self, target: int, cuts: Sequence[int] = (), port: int = 0, *, swallows: Sequence[bytes] = ()) -> None:
        self.cuts = list(cuts)
        self.swallows = list(swallows)
        self.silent = False
        self.up = self.down = 0
        self.port = port  # 0: a free one
        self._target = target
        self._age = 0
        self._forever = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self, listening: socket.socket | None = None) -> None:
        """Serve, on a socket that is bound already if there is one."""
        self._thread.start()
        at: dict[str, Any] = {"host": HOST, "port": self.port} if listening is None else {"sock": listening}
        serving = asyncio.start_server(self._serve, **at)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

    def forget(self) -> None:
        """All connections of now die silently; those that come later do not."""
        self._age += 1

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(self.cuts.pop(0) if self.cuts else None, self._age)
        try:
            there, to_there = await asyncio.open_connection(HOST, self._target)
        except OSError:  # nobody is there
            writer.close()
            return
        ways = [
            asyncio.create_task(self._hand_on(reader, to_there, "up", line)),
            asyncio.create_task(self._hand_on(there, writer, "down", line)),
        ]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, to_there):
            end.close()  # what was handed on arrives; an abort would take back what the kernel holds
        await asyncio.gather(*ways, writer.wait_closed(), to_there.wait_closed(), return_exceptions=True)

    async def _hand_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str, line: _Line) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(1 << 14):
                if self._is_swallowed(piece, way, line):
                    continue
                if line.left is not None:
                    line.left -= len(piece)
                    if line.left < 0:
                        return
                sink.write(piece)
                await sink.drain()
                setattr(self, way, getattr(self, way) + len(piece))
        if line.silent:
            await self._forever.wait()

    def _is_swallowed(self, piece: bytes, way: str, line: _Line) -> bool:
        found = next((some for some in self.swallows if some in piece), None) if way == "up" else None
        if found is not None:
            self.swallows.remove(found)
        line.silent = line.silent or self.silent or line.age < self._age or found is not None
        return line.silent


class _Detour(DirectTransport):
    """The transport as it is, to another port; names and signatures stay right."""

    def __init__(self, port: int) -> None:
        super().__init__(certificates(trust_env=False), SOCKET_OPTIONS)
        self._port = port

    def _connect(self, server: Server, due_s: float | None) -> socket.socket:
        return super()._connect((server[0], HOST, self._port), due_s)


@contextlib.contextmanager
def cut(line: Wire, target: int, cuts: Sequence[int] = (), *, swallows: Sequence[bytes] = ()) -> Iterator[CuttingProxy]:
    """Send what goes over ``line`` to its server, on the port ``target``, through a line that breaks or dies."""
    proxy = CuttingProxy(target, cuts, swallows=swallows)
    proxy.start()
    transport = _Detour(proxy.port)
    before, line.transport = line.transport, transport
    try:
        yield proxy
    finally:
        line.transport = before
        transport.close()
        proxy.stop()


@contextlib.contextmanager
def cut_polls(target: int, *, swallows: Sequence[bytes]) -> Iterator[CuttingProxy]:
    """Send the long-polls of all who start meanwhile to the port ``target`` through a line that dies."""
    proxy = CuttingProxy(target, swallows=swallows)
    proxy.start()

    def open_line(remote: Remote) -> Wire:
        line = really(remote)
        line.transport = _Detour(proxy.port)
        return line

    really = Remote.open_line
    with mock.patch.object(Remote, "open_line", open_line):
        try:
            yield proxy
        finally:
            proxy.stop()
