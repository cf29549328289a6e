"""Verify signed requests (see ``signature_profile`` for what they must cover).

What is checked: exactly one signature with our tag; the time; the key; the signature; exactly our parameters and
components; that it names this server; and only then, so that nobody fills the memory without a key, that its nonce is
new.  The body's digest is signed, but the body is not here yet: ``bodies`` compares it while reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    VerifyResult,
)
from http_message_signatures.algorithms import ED25519
from starlette.requests import Request

from fanlight.errors import FanlightError, NotAuthentic, NotEnrolled
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
    SignedMessage,
    parse_content_digest,
)

ResolveKey = Callable[[str], Ed25519PublicKey | None]

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_SIGNATURE_FIELDS = frozenset({"signature", "signature-input"})
_COVERED_IDS = frozenset({f'"{component}"' for component in COVERED} | {'"@signature-params"'})


@dataclass(frozen=True)
class Signed:
    """Who signed a request (``key_id``), and the ``sha256`` (32 bytes) that its body must have."""

    key_id: str
    sha256: bytes


class SignatureVerifier:
    """Says who signed a request, or refuses it.

    Args:
        resolve_key: the public key for a key id; None if it is no (longer a) member's.
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
        self._verifier = _Verifier(resolve_key, clock)

    def verify(self, headers: HeaderFields, method: str, url: str) -> Signed:
        """Who signed the request with these ``headers``, ``method`` and absolute, encoded ``url``.

        Raises:
            NotAuthentic: the signature is missing, malformed, wrong, replayed, covers other things than it must, was
                made for another server (slug ``other-server``), or too long ago or in the future (``clock-skew``).
            NotEnrolled: nobody here has this key id.
            Refused: too many requests under this key.
        """
        result = self._verified(SignedMessage(method, url, headers))
        parameters = result.parameters
        if set(result.covered_components) != _COVERED_IDS or set(parameters) != PARAMETERS:
            raise NotAuthentic("The signature does not cover exactly what it must.")
        if parameters["alg"] != ALGORITHM or not _NONCE.fullmatch(str(parameters["nonce"])):
            raise NotAuthentic("The signature's algorithm or nonce is not in our form.")
        self._check_authority(url)
        signed = Signed(str(parameters["keyid"]), parse_content_digest(result.covered_components['"content-digest"']))
        until = int(parameters["created"]) + WINDOW_S
        self._nonces.use(signed.key_id, str(parameters["nonce"]), now=self._clock(), until=until)
        return signed

    def verify_request(self, request: Request) -> Signed:
        """As ``verify``, for a Starlette request; ``bodies`` then knows which digest its body must have."""
        signed = self.verify(request.headers, request.method, url_on_the_wire(request))
        request.state.signed = signed
        return signed

    def _check_authority(self, url: str) -> None:
        try:
            authority = authority_of(url)
        except ValueError:
            authority = ""
        if authority not in self._authorities:
            raise NotAuthentic(
                f"The request was signed for {authority[:100]!r}, which is not this server.",
                next=f"Use the address in the token file; this server is {', '.join(sorted(self._authorities))}.",
                slug="other-server",
            )

    def _verified(self, message: SignedMessage) -> VerifyResult:
        if not _SIGNATURE_FIELDS & {name.lower() for name, _value in message.headers.items()}:
            raise NotAuthentic("The request is not signed.", next="Only members' programs may ask for this.")
        try:
            results: list[VerifyResult] = self._verifier.verify(message, max_age=None, expect_tag=TAG)
        except HTTPMessageSignaturesException as error:
            if isinstance(error.__cause__, FanlightError):  # our key resolver's or clock's, wrapped by the library
                raise error.__cause__ from None
            raise NotAuthentic(
                "The request's signature does not verify.", next="Check the key and the clock."
            ) from error
        if len(results) != 1:
            raise NotAuthentic("The request has more than one signature.")
        return results[0]


def url_on_the_wire(request: Request) -> str:
    """The absolute URL as the client sent it: its own host and percent-encoding, not what routing made of them."""
    scope = request.scope
    path = scope.get("raw_path") or scope["path"].encode()
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return f"{scope['scheme']}://{request.headers.get('host', '')}{(path + query).decode('latin-1')}"


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, resolve_key: ResolveKey) -> None:
        self._resolve_key = resolve_key

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        key = self._resolve_key(key_id)
        if key is None:
            raise NotEnrolled(f"{key_id[:64]!r} is not a member here.", next="Enrol again with a fresh token.")
        return key


class _Verifier(HTTPMessageVerifier):
    """The library's verifier, on our clock and with our window (it reads the system clock by itself)."""

    def __init__(self, resolve_key: ResolveKey, clock: Callable[[], float]) -> None:
        super().__init__(signature_algorithm=ED25519, key_resolver=_Keys(resolve_key))
        self._clock = clock

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:  # noqa: ARG002 the library's signature
        """Refuse a signature without times, or outside the window."""
        parameters: Mapping[str, Any] = sig_input.params
        created, expires = parameters.get("created"), parameters.get("expires")
        if type(created) is not int or type(expires) is not int or not 0 < expires - created <= WINDOW_S:
            raise NotAuthentic("The signature does not say when it was made and until when it holds.")
        now = self._clock()
        if abs(now - created) > WINDOW_S or now > expires + WINDOW_S:
            raise NotAuthentic(
                f"The signature was made {abs(now - created):.0f} s {'ago' if now > created else 'in the future'}.",
                next="Set the clock, or use the Date of this answer.",
                slug=CLOCK_SKEW,
            )
