"""A TCP proxy that cuts connections after so many bytes, as a bad line does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import httpcore
import httpx

from fanlight.services.http.wire import Wire

HOST = "127.0.0.1"


class CuttingProxy:
    """Hands on whatever comes to ``port``; runs in a thread of its own between ``start`` and ``stop``.

    Attributes:
        cuts: after so many bytes, both ways together, one connection after the other is cut; the later ones are not.
        up, down: bytes handed on to the server, and from it.
    """

    def __init__(self, target: int, cuts: list[int], port: int = 0) -> None:
        self.cuts = list(cuts)
        self.up = self.down = 0
        self.port = port  # 0: a free one
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        listening = asyncio.start_server(self._serve, HOST, self.port)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]

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
        left = [self.cuts.pop(0)] if self.cuts else None
        try:
            there, to_there = await asyncio.open_connection(HOST, self._target)
        except OSError:  # nobody is there
            writer.close()
            return
        ways = [
            asyncio.create_task(self._hand_on(reader, to_there, "up", left)),
            asyncio.create_task(self._hand_on(there, writer, "down", left)),
        ]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for line in (writer, to_there):
            line.close()  # what was handed on arrives; an abort would take back what the kernel holds
        await asyncio.gather(*ways, writer.wait_closed(), to_there.wait_closed(), return_exceptions=True)

    async def _hand_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str, left: list[int] | None
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(1 << 14):
                if left is not None:
                    left[0] -= len(piece)
                    if left[0] < 0:
                        return
                sink.write(piece)
                await sink.drain()
                setattr(self, way, getattr(self, way) + len(piece))


class _Detour(httpcore.SyncBackend):
    def __init__(self, port: int) -> None:
        self._port = port

    def connect_tcp(self, host: str, port: int, *arguments: Any, **options: Any) -> httpcore.NetworkStream:
        return super().connect_tcp(HOST, self._port, *arguments, **options)


@contextlib.contextmanager
def cut(wire: Wire, target: int, cuts: list[int]) -> Iterator[CuttingProxy]:
    """Send what goes over ``wire`` to its server, on the port ``target``, through a line that breaks."""
    proxy = CuttingProxy(target, cuts)
    proxy.start()
    transport = httpx.HTTPTransport()
    transport._pool = httpcore.ConnectionPool(network_backend=_Detour(proxy.port))  # names and signatures stay right
    before, wire.transport = wire.transport, transport
    try:
        yield proxy
    finally:
        wire.transport = before
        transport.close()
        proxy.stop()
