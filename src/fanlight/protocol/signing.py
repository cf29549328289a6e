"""Signed objects: the CBOR array [payload, key id, signature], Ed25519 (RFC 8032) over label ‖ 00 ‖ payload.

The signature is verified over the received payload bytes, before they are decoded; labels keep a signature for one
purpose from being used for another, and every payload names its federation or is bound to a manifest that does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.core import ed25519
from fanlight.errors import MalformedMessage, NotAuthentic
from fanlight.protocol import codec
from fanlight.protocol.digests import key_id as key_id  # noqa: PLC0414 - re-exported: signed objects name keys by it


@dataclass(frozen=True)
class Signed:
    """A payload and who signed it.

    Attributes:
        payload: the signed bytes.
        key: 16 bytes, ``key_id`` of the signing key.
        signature: 64 bytes.
    """

    payload: bytes
    key: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The signed object's bytes."""
        return codec.encode([self.payload, self.key, self.signature])

    @classmethod
    def decode(cls, data: bytes, *, limit: int = codec.DEFAULT_LIMIT) -> Self:
        """Read a signed object; the signature is not checked yet.

        Raises:
            MalformedMessage, MessageTooLarge: not a signed object.
        """
        parts = codec.decode(data, limit=limit)
        match parts:
            case [bytes(payload), bytes(key), bytes(signature)] if len(key) == 16 and len(signature) == 64:
                return cls(payload, key, signature)
        raise MalformedMessage("A signed object is [payload, key id of 16 bytes, signature of 64 bytes].")


def raw_public_key(private: Ed25519PrivateKey) -> bytes:
    """The 32 raw bytes of the public key."""
    return private.public_key().public_bytes_raw()


def sign(private: Ed25519PrivateKey, label: str, payload: bytes) -> Signed:
    """Sign ``payload`` for the purpose ``label``."""
    return Signed(payload, key_id(raw_public_key(private)), ed25519.sign(private, _to_be_signed(label, payload)))


def verify(public_key: bytes, label: str, signed: Signed) -> bytes:
    """Check that the holder of ``public_key`` signed for the purpose ``label``; return the payload.

    Raises:
        NotAuthentic: another key, another purpose, or altered bytes.
    """
    if signed.key != key_id(public_key):
        raise NotAuthentic(f"The {label} was signed with another key than expected.")
    if not ed25519.is_signed(public_key, signed.signature, _to_be_signed(label, signed.payload)):
        raise NotAuthentic(f"The signature of the {label} does not verify.")
    return signed.payload


def verify_bytes(public_key: bytes, label: str, data: bytes, *, limit: int = codec.DEFAULT_LIMIT) -> bytes:
    """Decode a signed object and verify it; return the payload.

    Raises:
        MalformedMessage, MessageTooLarge, NotAuthentic.
    """
    return verify(public_key, label, Signed.decode(data, limit=limit))


def _to_be_signed(label: str, payload: bytes) -> bytes:
    return label.encode() + b"\x00" + payload
