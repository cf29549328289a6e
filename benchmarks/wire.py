"""HTTP for thousands of devices in one process: no more than sending bytes, and reading answers of a known length.

A whole HTTP client takes half a millisecond for a request: with it, one would measure the client.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from typing import NamedTuple, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.services.http.signature_profile import COVERED, LABEL, Target, content_digest, signature_base, write_input
from fanlight.services.http.signing import fresh_nonce

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


class Answer(NamedTuple):
    """Status and body, and how long it took from the first byte sent, in seconds."""

    status: int
    body: bytes
    seconds: float


class Connection(asyncio.Protocol):
    """One kept connection; one request at a time. Made by ``connect``."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._whole = 0
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._received += data
        if not self._whole:
            end = self._received.find(_HEAD_END)
            if end < 0:
                return
            self._whole = end + len(_HEAD_END) + _length(bytes(self._received[:end]).lower())
        if len(self._received) >= self._whole and self._answer and not self._answer.done():
            self._answer.set_result(bytes(self._received))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request; its answer.

        Raises:
            OSError: the connection broke.
        """
        assert self._transport is not None
        self._received, self._whole = bytearray(), 0
        self._answer = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(request)
        answer = await self._answer
        head, _, body = answer.partition(_HEAD_END)
        return Answer(int(head[9:12]), body, time.perf_counter() - began)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()


async def connect(port: int) -> Connection:
    """A connection to a server of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


def request(method: str, port: int, target: str, body: bytes = b"", headers: str = "") -> bytes:
    """A request's bytes; ``headers`` are whole lines."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def signed(private: Ed25519PrivateKey, key_id: str, method: str, port: int, target: str, body: bytes = b"") -> bytes:
    """A request that ``key_id`` signs as ``signature_profile`` says."""
    path, _, query = target.partition("?")
    digest, covered = (
        content_digest(hashlib.sha256(body).digest()),
        write_input(int(time.time()), fresh_nonce(), key_id),
    )
    base = signature_base(Target(method, f"localhost:{port}", path, f"?{query}"), digest, COVERED, covered)
    signature = base64.b64encode(private.sign(base)).decode()
    fields = {"Content-Digest": digest, "Signature-Input": f"{LABEL}={covered}", "Signature": f"{LABEL}=:{signature}:"}
    return request(method, port, target, body, "".join(f"{name}: {value}\r\n" for name, value in fields.items()))


def _length(head: bytes) -> int:
    start = head.find(_LENGTH)
    return int(head[start + len(_LENGTH) :].split(b"\r\n", 1)[0]) if start >= 0 else 0
