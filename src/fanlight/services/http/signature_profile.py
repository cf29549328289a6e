"""The one way in which requests between processes are signed: a narrow profile of RFC 9421.

Ed25519 over method, authority, path, query and ``Content-Digest`` (RFC 9530, sha-256, also of an empty body), with
``created``, ``expires``, ``nonce``, ``keyid``, ``alg`` and ``tag``.  All of them, always: whoever may choose what is
covered may leave out what protects.  ``@authority``, port included, keeps one server from replaying a device's request
at the other.

Since nothing may be chosen, the two fields have one form each: one member, as RFC 8941 would serialise it, components
and parameters in any order.  A round consists of many small requests, so they are written and read here, without a
parser of all that the RFCs allow; tests hold both directions against the library ``http-message-signatures``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
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
_LABEL = r"([a-z*][a-z0-9_.*-]{0,63})"
_COMPONENT = r'"[a-z@-]{1,32}"'
_VALUE = r'(?:"[ !#-\[\]-~]{0,512}"|[0-9]{1,15})'
_PARAMETER = re.compile(rf";([a-z]{{1,16}})=({_VALUE})")
_LIST = rf"\(((?:{_COMPONENT}(?: {_COMPONENT}){{0,15}})?)\)((?:;[a-z]{{1,16}}={_VALUE}){{0,16}})"
_INPUT = re.compile(f"{_LABEL}=({_LIST})")
_SIGNATURE = re.compile(_LABEL + r"=:([A-Za-z0-9+/]{86}==):")
_COVERED = " ".join(f'"{component}"' for component in COVERED)


class HeaderFields(Protocol):
    """All field lines of a message, in order."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values; a repeated field comes repeatedly, or already combined."""


@dataclass(frozen=True)
class Target:
    """What a request is for: upper-case ``method``, and as they went over the wire ``authority``, ``path``, ``query``.

    ``authority`` is in lower case and without the scheme's own port, ``query`` begins with its question mark.
    """

    method: str
    authority: str
    path: str
    query: str


@dataclass(frozen=True)
class SignatureInput:
    """A ``Signature-Input`` field: its label, components, parameters, and the text that they stand in."""

    label: str
    covered: Sequence[str]
    parameters: dict[str, int | str]
    text: str


def write_input(created: int, nonce: str, key_id: str) -> str:
    """What is signed of a request made at ``created`` (unix seconds): components and parameters."""
    times = f"created={created};expires={created + VALID_FOR_S}"
    return f'({_COVERED});{times};nonce="{nonce}";keyid="{key_id}";alg="{ALGORITHM}";tag="{TAG}"'


def read_input(field: str) -> SignatureInput:
    """Read a ``Signature-Input`` field; whether it is what it must be is for the caller to see.

    Raises:
        NotAuthentic: it is not one member, or not in the one form.
    """
    match = _INPUT.fullmatch(field)
    if match is None:
        raise NotAuthentic("Signature-Input is not in our form.")
    label, text, covered, listed = match.groups()
    pairs = _PARAMETER.findall(listed)
    parameters = {name: value[1:-1] if value.startswith('"') else int(value) for name, value in pairs}
    if len(parameters) != len(pairs):
        raise NotAuthentic("Signature-Input has a parameter twice.")
    return SignatureInput(label, [component[1:-1] for component in covered.split(" ")], parameters, text)


def read_signature(field: str, label: str) -> bytes:
    """The 64 bytes of a ``Signature`` field under ``label``.

    Raises:
        NotAuthentic: it is anything else.
    """
    match = _SIGNATURE.fullmatch(field)
    if match is None or match[1] != label:
        raise NotAuthentic("Signature is not one signature in our form.")
    return base64.b64decode(match[2])


def signature_base(target: Target, digest_field: str, covered: Sequence[str], text: str) -> bytes:
    """The bytes that are signed (RFC 9421, section 2.5).

    Args:
        target: of the request.
        digest_field: its ``Content-Digest``.
        covered: components, in their order.
        text: of the ``SignatureInput``.
    """
    values = {
        "@method": target.method,
        "@authority": target.authority,
        "@path": target.path,
        "@query": target.query,
        "content-digest": digest_field,
    }
    lines = [f'"{component}": {values[component]}' for component in covered]
    return "\n".join((*lines, f'"@signature-params": {text}')).encode()


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
