"""The one way in which requests between processes are signed: a narrow profile of RFC 9421.

Ed25519 over method, authority, path, query and ``Content-Digest`` (RFC 9530, sha-256, also of an empty body), with
``created``, ``expires``, ``nonce``, ``keyid``, ``alg`` and ``tag``.  All of them, always: whoever may choose what is
covered may leave out what protects.  ``@authority``, port included, keeps one server from replaying a device's request
at the other.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fanlight.errors import NotAuthentic

TAG = "fanlight/1"
LABEL = "fanlight"
ALGORITHM = "ed25519"
COVERED = ("@method", "@authority", "@path", "@query", "content-digest")
PARAMETERS = frozenset({"created", "expires", "nonce", "keyid", "alg", "tag"})
VALID_FOR_S = 60
WINDOW_S = 300
CLOCK_SKEW = "clock-skew"

_CONTENT_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class HeaderFields(Protocol):
    """What the signature library reads: all field lines, in order."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values; a repeated field comes repeatedly, or already combined."""


@dataclass(frozen=True)
class SignedMessage:
    """A request as the signature library sees it: upper-case ``method``, absolute encoded ``url``, ``headers``."""

    method: str
    url: str
    headers: HeaderFields


def content_digest(sha256: bytes) -> str:
    """The ``Content-Digest`` field for a body whose 32-byte SHA-256 is ``sha256``."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def parse_content_digest(field: str) -> bytes:
    """The 32-byte SHA-256 in a ``Content-Digest`` field.

    Raises:
        NotAuthentic: it is anything but one sha-256 digest.
    """
    match = _CONTENT_DIGEST.fullmatch(field.strip())
    if match is None:
        raise NotAuthentic("Content-Digest is not one sha-256 digest.")
    return base64.b64decode(match[1])
