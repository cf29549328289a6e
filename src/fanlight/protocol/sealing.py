"""Sealing mask seeds to a server's round key: HPKE base mode, suite 0x0020/0x0001/0x0002 (RFC 9180), empty aad.

``info`` is the CBOR array [label, mh, device]: a sealed seed opens for one purpose, round and device only. The
ephemeral key comes from the operating system inside ``cryptography``; it cannot be injected, which is why sealed seeds
are opened and never reproduced in the test vectors.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from fanlight.core.masks import derive_mask_key
from fanlight.errors import NotAuthentic, Refused
from fanlight.protocol import codec

MASK_MAIN = "mask-main"
MASK_AGGREGATOR = "mask-agg"

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _info(label: str, mh: bytes, device: bytes) -> bytes:
    return codec.encode([label, mh, device])


def seal_seed(seed: bytes, round_key: bytes, label: str, mh: bytes, device: bytes) -> bytes:
    """Seal a 32-byte seed to a server's X25519 round key (32 raw bytes); returns 80 bytes.

    Raises:
        Refused: the round key is a point of small order: everybody would know what is sealed to it (RFC 7748, 6.1).
    """
    try:
        return _SUITE.encrypt(seed, X25519PublicKey.from_public_bytes(round_key), info=_info(label, mh, device))
    except ValueError as error:
        raise Refused("The manifest's round key cannot keep a secret.", slug="bad-round-key") from error


def open_seed(sealed: bytes, round_key: X25519PrivateKey, label: str, mh: bytes, device: bytes) -> bytes:
    """Open a sealed seed.

    Raises:
        NotAuthentic: sealed to another key, for another round, device or purpose, altered, or not 32 bytes inside.
    """
    try:
        seed = _SUITE.decrypt(sealed, round_key, info=_info(label, mh, device))
    except (InvalidTag, ValueError) as error:
        raise NotAuthentic("A sealed seed does not open.", device=device.hex(), slug="seed-unopenable") from error
    if len(seed) != 32:
        raise NotAuthentic("A sealed seed is not 32 bytes.", device=device.hex(), slug="seed-unopenable")
    return seed


def mask_key(seed: bytes, label: str, mh: bytes, device: bytes) -> bytes:
    """Keystream key of one mask: HKDF-SHA256 with salt ``mh`` and info [label, device]; 32 bytes."""
    return derive_mask_key(seed, mh, codec.encode([label, device]))
