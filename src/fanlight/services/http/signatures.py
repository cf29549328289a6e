"""Verify signed requests (see ``signature_profile`` for what they must cover).

What is checked: exactly one signature with our tag; the time; the key; the signature; exactly our parameters and
components; that it names this server; and only then, so that nobody fills the memory without a key, that its nonce is
new.  The body's digest is signed, but the body is not here yet: ``bodies`` compares it while reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from fanlight.core import ed25519
from fanlight.errors import NotAuthentic, NotEnrolled
from fanlight.services.http.hosts import authority_of
from fanlight.services.http.nonces import NonceWindow
from fanlight.services.http.signature_profile import (
    ALGORITHM,
    CLOCK_SKEW,
    COVERED,
    PARAMETERS,
    TAG,
    WINDOW_S,
    HeaderFields,
    SignatureInput,
    Target,
    parse_content_digest,
    read_input,
    read_signature,
    signature_base,
)

ResolveKey = Callable[[str], bytes | None]

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
SIGNED: Final = "fanlight.signed"
"""Where in a request's scope ``verify_request`` leaves what it found."""
_FIELDS = ("signature-input", "signature", "content-digest")
_RAW_FIELDS = frozenset(field.encode() for field in _FIELDS)


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed a request (``key_id``), and the ``sha256`` (32 bytes) that its body must have."""

    key_id: str
    sha256: bytes


class SignatureVerifier:
    """Says who signed a request, or refuses it.

    Args:
        resolve_key: the public key, 32 raw bytes, for a key id; None if it is no (longer a) member's.
        clock: unix seconds.
        authorities: the names, ports included, that mean this server (``hosts.authorities_of``).  What was signed for
            another server is refused here, though both may have the same host and know the same keys.
        nonces: where used nonces are remembered; by default in a memory of its own.  Verifiers that resolve key ids
            alike share one.  Whose keys anybody can make must not share with members: they could fill it.
    """

    def __init__(
        self,
        resolve_key: ResolveKey,
        clock: Callable[[], float],
        authorities: Collection[str],
        nonces: NonceWindow | None = None,
    ) -> None:
        self._clock = clock
        self._authorities = frozenset(authorities)
        self._nonces = NonceWindow() if nonces is None else nonces  # an empty one is false
        self._resolve_key = resolve_key

    def verify(self, headers: HeaderFields, method: str, url: str) -> Signed:
        """Who signed the request with these ``headers``, ``method`` and absolute, encoded ``url``.

        Raises:
            NotAuthentic: the signature is missing, malformed, wrong, replayed, covers other things than it must, was
                made for another server (slug ``other-server``), or too long ago or in the future (``clock-skew``).
            NotEnrolled: nobody here has this key id.
            Refused: too many requests under this key.
        """
        fields = _signature_fields(headers)
        target = _target(method, url)
        given = read_input(fields["signature-input"])
        parameters = given.parameters
        _check_form(given)
        self._check_time(int(parameters["created"]), int(parameters["expires"]))
        key_id = str(parameters["keyid"])
        base = signature_base(target, fields["content-digest"], given.covered, given.text)
        self._check_signature(key_id, read_signature(fields["signature"], given.label), base)
        self._check_authority(target.authority)
        signed = Signed(key_id, parse_content_digest(fields["content-digest"]))
        until = int(parameters["created"]) + WINDOW_S
        self._nonces.use(key_id, str(parameters["nonce"]), now=self._clock(), until=until)
        return signed

    def verify_request(self, request: Request) -> Signed:
        """As ``verify``, for a Starlette request; ``bodies`` then knows which digest its body must have."""
        fields: list[tuple[bytes, bytes]] = request.scope["headers"]
        signed = self.verify(Headers(raw=fields), request.method, url_on_the_wire(request.scope))
        # In place, since the web server holds the very list: thousands wait with it, and nobody reads these any more.
        fields[:] = [field for field in fields if field[0] not in _RAW_FIELDS]
        request.scope[SIGNED] = signed
        return signed

    def _check_time(self, created: int, expires: int) -> None:
        if not 0 < expires - created <= WINDOW_S:
            raise NotAuthentic("The signature does not say when it was made and until when it holds.")
        now = self._clock()
        if abs(now - created) > WINDOW_S or now > expires + WINDOW_S:
            raise NotAuthentic(
                f"The signature was made {abs(now - created):.0f} s {'ago' if now > created else 'in the future'}.",
                next="Set the clock, or use the Date of this answer.",
                slug=CLOCK_SKEW,
            )

    def _check_signature(self, key_id: str, signature: bytes, base: bytes) -> None:
        key = self._resolve_key(key_id)
        if key is None:
            raise NotEnrolled(f"{key_id[:64]!r} is not a member here.", next="Enrol again with a fresh token.")
        if not ed25519.is_signed(key, signature, base):
            raise NotAuthentic("The request's signature does not verify.", next="Check the key and the clock.")

    def _check_authority(self, authority: str) -> None:
        if authority not in self._authorities:
            raise NotAuthentic(
                f"The request was signed for {authority[:100]!r}, which is not this server.",
                next=f"Use the address in the token file; this server is {', '.join(sorted(self._authorities))}.",
                slug="other-server",
            )


def url_on_the_wire(scope: Scope) -> str:
    """The absolute URL as the client sent it: its own host and percent-encoding, not what routing made of them."""
    host = Headers(raw=scope["headers"]).get("host", "")
    path = scope.get("raw_path") or scope["path"].encode()
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return f"{scope['scheme']}://{host}{(path + query).decode('latin-1')}"


def _signature_fields(headers: HeaderFields) -> dict[str, str]:
    """The three fields that make a signature; each may be there once."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        field = name.lower()
        if field in _FIELDS:
            if field in found:
                raise NotAuthentic(f"The field {field} is there twice.")
            found[field] = value
    if not found.keys() & {"signature", "signature-input"}:
        raise NotAuthentic("The request is not signed.", next="Only members' programs may ask for this.")
    return {field: found.get(field, "") for field in _FIELDS}


def _target(method: str, url: str) -> Target:
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    try:
        authority = authority_of(f"{scheme}://{host}")
    except ValueError:
        authority = ""
    return Target(method, authority, slash + path or "/", f"?{query}")


def _check_form(given: SignatureInput) -> None:
    """Exactly our components and parameters, each of its kind."""
    parameters = given.parameters
    if sorted(given.covered) != sorted(COVERED) or set(parameters) != PARAMETERS:
        raise NotAuthentic("The signature does not cover exactly what it must.")
    numbers = {name for name, value in parameters.items() if isinstance(value, int)}
    if numbers != {"created", "expires"} or parameters["tag"] != TAG or parameters["alg"] != ALGORITHM:
        raise NotAuthentic("The signature's parameters are not in our form.")
    if not _NONCE.fullmatch(str(parameters["nonce"])):
        raise NotAuthentic("The signature's nonce is not in our form.")
