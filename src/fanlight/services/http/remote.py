"""One server as another process sees it: signed requests out, bounded answers in, failures as ``RemoteError``.

An answer's length is checked before it is read and while it is read; it is taken as it comes over the wire, since a
small compressed answer can unpack to a large one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import (
    Conflict,
    MalformedMessage,
    MessageTooLarge,
    NotAuthentic,
    NotEnrolled,
    NotFound,
    Refused,
    RemoteError,
    Unreachable,
)
from fanlight.services.http.backoff import retry_after_s
from fanlight.services.http.signing import SignedRequests
from fanlight.services.http.silence import patience, patience_for
from fanlight.services.http.wire import Wire

log = structlog.get_logger(__name__)

_HEADERS: Final = {"Accept": "application/cbor, application/json", "Accept-Encoding": "identity"}
CBOR: Final = {"Content-Type": "application/cbor"}
UNSIGNED: Final = httpx.Auth()
"""For a request whose body speaks for itself."""
PROBLEM_LIMIT: Final = 1 << 16
MESSAGE_LIMIT: Final = 1 << 20
_BY_STATUS: Final[Mapping[int, type[RemoteError]]] = {
    400: MalformedMessage,
    401: NotAuthentic,
    403: Refused,
    404: NotFound,
    409: Conflict,
    413: MessageTooLarge,
    421: Refused,
    429: Refused,
}
_MEMBERSHIP: Final = frozenset({"not-enrolled", "revoked", "left"})


class Answer(NamedTuple):
    """What a server answered: its header fields, and the body."""

    headers: Mapping[str, str]
    content: bytes


class Download(NamedTuple):
    """A file on its way: the answer's status and header fields, and its bytes as they come."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


class Remote:
    """A server.

    Args:
        title: what messages call it.
        url: its base address.
        key_id: our name at it.
        private: our key.
        clock: unix seconds.
        transport: replaces the network, for tests.

    Attributes:
        sent_bytes, received_bytes: of all bodies of requests and answers so far.
    """

    def __init__(
        self,
        title: str,
        url: str,
        *,
        key_id: str,
        private: Ed25519PrivateKey,
        clock: Callable[[], float],
        transport: httpx.MockTransport | None = None,
    ) -> None:
        self.title = title
        self.url = url
        self._key_id = key_id
        self._clock = clock
        self._transport = transport
        self.wire = Wire(url, _HEADERS, self._check_before_signer, transport)
        self.sent_bytes = self.received_bytes = 0
        self.use_key(private)

    def use_key(self, private: Ed25519PrivateKey) -> None:
        """Sign with ``private`` from now on."""
        self.private = private
        self.auth = self.signer(self._key_id, private)

    def signer(self, key_id: str, private: Ed25519PrivateKey) -> SignedRequests:
        """Signs requests under another name or key."""
        return SignedRequests(key_id, private, self._clock)

    def asked_by(self, key_id: str, private: Ed25519PrivateKey) -> Self:
        """The same server, over the same connections, asked by somebody else of this process."""
        other = copy.copy(self)
        other._key_id = key_id  # noqa: SLF001 a copy of this one
        other.sent_bytes = other.received_bytes = 0
        other.use_key(private)
        return other

    def open_line(self) -> Wire:
        """A line of its own for long-polls, which ``break_off`` ends; the caller closes it."""
        return Wire(self.url, _HEADERS, self._check_before_signer, self._transport)

    def send(self, method: str, path: str, **options: Any) -> bytes:
        """As ``ask``; the answer's body only."""
        return self.ask(method, path, **options).content

    def ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] = CBOR,
        auth: httpx.Auth | None = None,
        limit: int = MESSAGE_LIMIT,
        timeout: httpx.Timeout | None = None,
        wire: Wire | None = None,
    ) -> Answer:
        """One request; the answer, with at most ``limit`` bytes.

        Args:
            method, path, content, headers: of the request; in pieces, ``Content-Length`` tells how much is due.
            auth: signs it; by default with our key.
            limit: most bytes to take.
            timeout: how long to wait; by default, what is due to its length.
            wire: asks; by default the one that all requests share.

        Raises:
            RemoteError: a problem that the server named (its slug is kept), or no usable answer.
        """
        line = self.wire if wire is None else wire
        due, signer = timeout or patience(_length(content, headers)), auth or self.auth
        with (
            self.failures(line),
            line.exchange(method, path, content=content, headers=headers, auth=signer, timeout=due) as response,
        ):
            body = self._read(response, limit)
        self._count(response, len(body))
        return Answer(response.headers, self._answer(response, body))

    @contextmanager
    def download(self, path: str, headers: Mapping[str, str], limit: int) -> Generator[Download, None, None]:
        """A file of at most ``limit`` bytes, or a part of it, to be read inside the block; errors as in ``ask``.

        The status is 200, 206, or 416: there is no such part.
        """
        with (
            self.failures(self.wire),
            self.wire.exchange(
                "GET", path, content=b"", headers=headers, auth=self.auth, timeout=patience()
            ) as response,
        ):
            if response.status_code not in (200, 206, 416):
                self._answer(response, self._read(response, limit))
                raise Unreachable(f"{self.title} sent no file.", slug="bad-answer")
            self._allowed(response, limit)
            try:
                yield Download(response.status_code, response.headers, response.iter_raw())
            finally:
                self._count(response, response.num_bytes_downloaded)

    def poll(self, line: Wire, path: str, params: Mapping[str, str], wait_s: float) -> bytes:
        """As ``send``, for a GET over ``line`` that may take ``wait_s`` seconds."""
        return self.send("GET", f"{path}?{urlencode(params)}", headers={}, timeout=patience_for(wait_s), wire=line)

    def close(self) -> None:
        """Close all connections."""
        self.wire.close()

    @contextmanager
    def failures(self, wire: Wire) -> Generator[None, None, None]:
        """What the network does to us, as ``Unreachable``; what the operating system calls it is for the log."""
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL, httpx.StreamError) as error:
            if not wire.is_broken_off:
                log.info("no answer", server=self.title, url=self.url, reason=str(error) or type(error).__name__)
            raise Unreachable(
                f"{self.title} at {self.url} does not answer.",
                next="Is it running, and is the address right?",
            ) from error

    def _read(self, response: httpx.Response, limit: int) -> bytes:
        allowed = self._allowed(response, limit)
        body = bytearray(self._read_before(response))
        for piece in () if body else response.iter_raw():
            body += piece
            self._check_size(len(body), allowed)
        return bytes(body)

    def _read_before(self, response: httpx.Response) -> bytes:
        """The body, if ``SignedRequests`` has read it to learn the server's time."""
        return response.content if response.is_stream_consumed else b""

    def _check_before_signer(self, response: httpx.Response) -> None:
        """``SignedRequests`` reads a 401 in one go: its length must be known, and small."""
        if response.status_code == 401:
            self._allowed(response, PROBLEM_LIMIT)
            if "content-length" not in response.headers:
                raise Unreachable(f"{self.title} refused a request with an endless answer.", slug="bad-answer")

    def _allowed(self, response: httpx.Response, limit: int) -> int:
        allowed = limit if response.is_success else PROBLEM_LIMIT
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unreachable(f"{self.title} sent a compressed answer that was not asked for.", slug="bad-answer")
        declared = response.headers.get("content-length", "0")
        self._check_size(int(declared) if declared.isascii() and declared.isdigit() else allowed + 1, allowed)
        return allowed

    def _check_size(self, size: int, allowed: int) -> None:
        if size > allowed:
            raise MessageTooLarge(f"{self.title} sent more than the {allowed:,} bytes that are accepted here.")

    def _count(self, response: httpx.Response, received: int) -> None:
        self.sent_bytes += int(response.request.headers.get("content-length", 0))
        self.received_bytes += received

    def _answer(self, response: httpx.Response, body: bytes) -> bytes:
        if response.is_success:
            return body
        told_s = retry_after_s(response.headers, self._clock())
        raise remote_error(self.title, response.status_code, body, told_s)


def _length(content: bytes | Iterator[bytes], headers: Mapping[str, str]) -> int:
    """Bytes of a request's body, as far as it says."""
    return len(content) if isinstance(content, bytes) else int(headers.get("Content-Length", 0))


def remote_error(title: str, status: int, body: bytes, told_s: float | None = None) -> RemoteError:
    """The error that a server's answer stands for; its slug and advice are kept, and when it said to come back."""
    slug, message, advice = _problem(body)
    said = f"{title}: {message or f'status {status}'}"
    if status in (401, 403) and slug in _MEMBERSHIP:
        return NotEnrolled(said, next=advice, slug=slug)
    kind = _BY_STATUS.get(status, Unreachable)
    if not slug and status == 404:
        kind = Unreachable  # some other program answers at that address
    return kind(said, next=advice, slug=slug or None, retry_after_s=told_s)


def _problem(body: bytes) -> tuple[str, str, str]:
    """Slug, message and advice of a JSON problem; empty strings if it is none."""
    try:
        error = json.loads(body)["error"]
        slug, message, advice = (error[name] for name in ("slug", "message", "next"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", "", ""
    if not all(isinstance(text, str) for text in (slug, message, advice)):
        return "", "", ""
    return slug[:64], message[:500], advice[:500]
