"""Sign outgoing requests (see ``signature_profile``), and get along with a clock that is wrong.

Devices behind a power cut wake up in 1970.  A server that refuses a signature as too old or too new says so (401, slug
``clock-skew``) and its ``Date`` header tells the time; the difference is added from then on.  A server that lies about
the time gains nothing: the signatures it gets that way are valid only at itself.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Generator
from email.utils import parsedate_to_datetime

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.core import ed25519
from fanlight.errors import UsageError
from fanlight.services.http.hosts import authority_of
from fanlight.services.http.signature_profile import (
    CLOCK_SKEW,
    COVERED,
    LABEL,
    Target,
    content_digest,
    signature_base,
    write_input,
)

log = structlog.get_logger(__name__)


def fresh_nonce() -> str:
    """128 random bits, as 32 hexadecimal digits."""
    return secrets.token_hex(16)


class SignedRequests(httpx.Auth):
    """Signs every request that an ``httpx`` client sends (``httpx.Client(auth=SignedRequests(…))``).

    Args:
        key_id: under which name the server knows the public key (a device id in hexadecimal, or a role).
        private_key: the Ed25519 key.
        clock: unix seconds.
        nonce_source: a fresh string each call, 16 to 64 letters and digits.
    """

    def __init__(
        self,
        key_id: str,
        private_key: Ed25519PrivateKey,
        clock: Callable[[], float] = time.time,
        nonce_source: Callable[[], str] = fresh_nonce,
    ) -> None:
        self.clock_offset_s = 0.0
        self._key_id = key_id
        self._clock = clock
        self._nonce = nonce_source
        self._private_key = private_key

    def sign(self, request: httpx.Request) -> None:
        """Sign ``request`` in place; a ``Content-Digest`` that the caller set (large uploads) is kept.

        Raises:
            UsageError: the body is a stream, and the caller did not set its ``Content-Digest``.
        """
        if "content-digest" not in request.headers:
            request.headers["Content-Digest"] = content_digest(hashlib.sha256(_body(request)).digest())
        created = int(self._clock() + self.clock_offset_s)
        covered = write_input(created, self._nonce(), self._key_id)
        base = signature_base(_target(request), request.headers["Content-Digest"], COVERED, covered)
        request.headers["Signature-Input"] = f"{LABEL}={covered}"
        request.headers["Signature"] = f"{LABEL}=:{base64.b64encode(ed25519.sign(self._private_key, base)).decode()}:"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign, and once more after learning the server's time (called by httpx)."""
        self.sign(request)
        response = yield request
        if response.status_code == 401:
            response.read()
            if self._learn_time(response) and _can_repeat(request):
                self.sign(request)
                yield request

    def _learn_time(self, response: httpx.Response) -> bool:
        if _slug(response) != CLOCK_SKEW:
            return False
        try:
            server_time = parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return False
        self.clock_offset_s = server_time - self._clock()
        log.warning("a server's clock and this one differ: its time is used from now on", seconds=self.clock_offset_s)
        return True


def _target(request: httpx.Request) -> Target:
    url = request.url
    path, _, query = url.raw_path.decode("ascii").partition("?")
    scheme, host = url.scheme, request.headers.get("host", "")
    return Target(request.method, authority_of(f"{scheme}://{host}"), path, f"?{query}")


def _body(request: httpx.Request) -> bytes:
    try:
        return request.content
    except httpx.RequestNotRead as error:
        raise UsageError("A streamed body needs its Content-Digest set before it is signed.") from error


def _can_repeat(request: httpx.Request) -> bool:
    try:
        return request.content is not None
    except httpx.RequestNotRead:  # the stream is used up; the caller's next attempt has the right time
        return False


def _slug(response: httpx.Response) -> str | None:
    try:
        return str(response.json()["error"]["slug"])
    except (ValueError, KeyError, TypeError):
        return None
