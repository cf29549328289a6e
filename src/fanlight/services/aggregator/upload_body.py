"""The body of an upload as it comes over the line: bounded by what was signed, before anything is allocated for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request

from fanlight.core.packing import is_packed, padding_is_zero
from fanlight.core.ring import WORD_BYTES, from_bytes
from fanlight.core.segments import Segment
from fanlight.errors import MalformedMessage, Refused
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES
from fanlight.protocol.report import ENVELOPE_LIMIT, PREFIX_BYTES, Envelope, ReportHeader, envelope_length
from fanlight.services.http.limits import declared_length

PATIENCE_S: Final = 20.0
"""A sender that says nothing for so long is gone: its own system gives a line without an answer up after half of it."""
GRACE_S: Final = 60.0
SLOWEST_RATE: Final = 8192
"""Bytes a second that a report must bring, over all the time that it is waited for but the first ``GRACE_S`` seconds.

Without it a few members that send a byte a minute could keep everybody else's reports from finding room. A line of 64
kbit/s is fast enough; on a slower one the report goes on where it was let go.
"""
RETRY_S: Final = 5.0
"""About as long as a large report takes over a good line."""


@dataclass(frozen=True)
class Admitted:
    """A report that may arrive: its round and device, envelope and checked header, and the layout of its vector."""

    mh: bytes
    device: bytes
    envelope: Envelope
    header: ReportHeader
    layout: Sequence[Segment]

    @property
    def size(self) -> int:
        """Bytes of y."""
        return WORD_BYTES * self.header.length

    @property
    def file(self) -> str:
        """The name of the file of y: no other report can ever end up in it."""
        return self.envelope.report_id.hex()

    def refuse_length(self, found: str) -> Refused:
        """The error for a vector of another length."""
        message = f"The vector has {found} bytes; {self.header.length} words were signed."
        return Refused(message, slug="wrong-length", device=self.device.hex())

    def check_padding(self, start: int, chunk: bytes | memoryview) -> None:
        """Refuse a ``chunk``, whole words of y from its byte ``start`` on, that says something behind a last number.

        Raises:
            Refused: it does. Later, one report of an agreed set could not be refused any more.
        """
        if is_packed(self.layout) and not padding_is_zero(from_bytes(chunk), self.layout, start // WORD_BYTES):
            raise Refused(
                "The vector says something behind its last number.", slug="padding-set", device=self.device.hex()
            )

    def refuse_vector(self) -> Refused:
        """The error for other bytes than the signed ones."""
        return Refused("The vector is not the one that was signed.", slug="swapped-vector", device=self.device.hex())


class Body:
    """The body of one request, in order; never more than one piece of it is held unread."""

    def __init__(self, request: Request) -> None:
        self._declared = declared_length(request.headers)
        self._pieces = request.stream()
        self._rest = memoryview(b"")
        self._read = 0
        self._heard = 0
        self._waited_s = 0.0

    async def envelope(self) -> Envelope:
        """What every upload begins with.

        Raises:
            MalformedMessage: it does not.
        """
        length = envelope_length(await self.exactly(PREFIX_BYTES))
        return Envelope.decode(await self.exactly(length), limit=ENVELOPE_LIMIT)

    def check_declared(self, report: Admitted, start: int) -> None:
        """Refuse a ``Content-Length`` that has no room for y from ``start`` on, or more than that."""
        if self._declared is not None and self._declared != self._read + report.size - start:
            raise report.refuse_length(str(self._declared - self._read + start))

    async def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            MalformedMessage: it ends before.
        """
        found = await self._next()
        while len(found) < size:
            piece = await self._next()
            if not piece:
                raise MalformedMessage("The report ends too early.")
            found = memoryview(b"".join((found, piece)))
        self._rest = found[size:]
        self._read += size
        return bytes(found[:size])

    async def chunks(self, report: Admitted, start: int) -> AsyncIterator[memoryview]:
        """What follows: y from its byte ``start`` to its end, a chunk at a time, each valid until the next one.

        More than was declared cannot follow; without a declaration, the end is waited for.

        Raises:
            Refused: it is shorter or longer.
        """
        chunk, filled, at = memoryview(bytearray(min(VECTOR_CHUNK_BYTES, report.size - start))), 0, start
        while self._declared is None or at < report.size:
            piece = await self._next()
            if not piece:
                break
            at += len(piece)
            if at > report.size:
                raise report.refuse_length(f"more than {report.size}")
            while piece:
                part, piece = piece[: len(chunk) - filled], piece[len(chunk) - filled :]
                chunk[filled : filled + len(part)] = part
                filled += len(part)
                if filled == len(chunk):
                    yield chunk
                    filled = 0
        if at < report.size:
            raise report.refuse_length(f"only {at}")
        if filled:
            yield chunk[:filled]

    async def end(self) -> None:
        """Nothing may follow.

        Raises:
            MalformedMessage: something does.
        """
        if await self._next():
            raise MalformedMessage("More follows than belongs to a report.")

    async def _next(self) -> memoryview:
        """The next bytes; none at the end."""
        found, self._rest = self._rest, memoryview(b"")
        while not found and (piece := await self._hear()) is not None:
            found = memoryview(piece)
        return found

    async def _hear(self) -> bytes | None:
        """What the sender says next; None after the end. Only the time that is spent on waiting for it counts."""
        loop = asyncio.get_running_loop()
        began, left_s = loop.time(), GRACE_S + self._heard / SLOWEST_RATE - self._waited_s
        try:
            async with asyncio.timeout(min(PATIENCE_S, left_s)):
                piece = await anext(self._pieces, None)
        except ClientDisconnect:
            raise MalformedMessage("The connection ended before the report did.", slug="cut-short") from None
        except TimeoutError:
            raise MalformedMessage(
                f"The report arrives too slowly: {self._heard} bytes in {self._waited_s:.0f} seconds.",
                slug="too-slow",
                next="Send the rest over a better line; what has arrived in whole chunks is kept.",
                retry_after_s=RETRY_S,
            ) from None
        self._waited_s += loop.time() - began
        self._heard += len(piece or b"")
        return piece
