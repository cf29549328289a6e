"""Read the body of a signed request: bounded before the first byte, and compared with the signed digest at the end."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator

from starlette.requests import Request

from fanlight.errors import NotAuthentic
from fanlight.services.http.limits import declared_length, too_large
from fanlight.services.http.signatures import SIGNED, Signed


async def stream_body(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the body's pieces; what they say holds only if the iteration ends without an error.

    Call ``SignatureVerifier.verify_request`` first.

    Raises:
        MessageTooLarge: ``Content-Length``, or what really comes, is above ``limit`` bytes.
        NotAuthentic: at the end, if the body is not the one that was signed.
    """
    signed: Signed = request.scope[SIGNED]
    length = declared_length(request.headers)
    if length is not None and length > limit:
        raise too_large(limit)
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        digest.update(piece)
        if piece:
            yield piece
    if not hmac.compare_digest(digest.digest(), signed.sha256):
        raise NotAuthentic("The body is not the one that was signed.", slug="body-altered")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most ``limit`` bytes, compared with the signed digest; errors as in ``stream_body``."""
    return b"".join([piece async for piece in stream_body(request, limit)])
