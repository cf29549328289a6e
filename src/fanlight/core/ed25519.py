"""Ed25519 signatures (RFC 8032), by libsodium.

Keys are those of ``cryptography``, which makes, reads and writes them. Signing and verifying short messages takes
libsodium half as long as OpenSSL, and a small round has 60 of both (``docs/adr/0043-signatures-by-libsodium.md``).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open, crypto_sign_PUBLICKEYBYTES
from nacl.exceptions import BadSignatureError


def sign(private: Ed25519PrivateKey, message: bytes) -> bytes:
    """The signature of ``message``, 64 bytes: the same whenever it is asked for."""
    both = private.private_bytes_raw() + private.public_key().public_bytes_raw()
    return crypto_sign(message, both)[:crypto_sign_BYTES]


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Did the holder of ``public_key`` (32 raw bytes) sign ``message``?

    Verified without the cofactor; points of small order, keys that are not in their one form, and S beyond the group's
    order are refused. So is whatever has another length.
    """
    if len(public_key) != crypto_sign_PUBLICKEYBYTES or len(signature) != crypto_sign_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True
