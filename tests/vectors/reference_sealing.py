"""HPKE by hand, for the vectors: X25519, HKDF and an AEAD put together as RFC 9180 says.

It imports nothing of Fanlight, and not the HPKE of ``cryptography``, which Fanlight calls.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tests.vectors import reference as ref


def x25519(secret: bytes, public_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public_key))


def round_key(secret: bytes) -> bytes:
    """The X25519 public key of a secret one."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


@dataclass(frozen=True)
class Hpke:
    """HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, from the shared point on.

    ``aead``: 1 = AES-128-GCM, 2 = AES-256-GCM (Fanlight's), 3 = ChaCha20Poly1305. The other names are the RFC's.
    """

    shared_secret: bytes
    info: bytes
    aead: int = 2

    @classmethod
    def sender(cls, ephemeral: bytes, receiver: bytes, info: bytes, aead: int = 2) -> Hpke:
        """With the ephemeral secret and the receiver's public key."""
        return cls(_shared(x25519(ephemeral, receiver), round_key(ephemeral) + receiver), info, aead)

    @classmethod
    def receiver(cls, enc: bytes, secret: bytes, info: bytes, aead: int = 2) -> Hpke:
        """With the sender's ephemeral public key and the receiver's secret one."""
        return cls(_shared(x25519(secret, enc), enc + round_key(secret)), info, aead)

    @property
    def _suite(self) -> bytes:
        return b"HPKE" + struct.pack(">HHH", 0x20, 1, self.aead)

    @property
    def key_schedule_context(self) -> bytes:
        hashes = [
            labelled_extract(self._suite, b"", label, b)
            for label, b in ((b"psk_id_hash", b""), (b"info_hash", self.info))
        ]
        return b"\x00" + b"".join(hashes)

    @property
    def secret(self) -> bytes:
        return labelled_extract(self._suite, self.shared_secret, b"secret", b"")

    @property
    def key(self) -> bytes:
        return self._expand(b"key", 16 if self.aead == 1 else 32)

    @property
    def base_nonce(self) -> bytes:
        return self._expand(b"base_nonce", 12)

    def _expand(self, label: bytes, length: int) -> bytes:
        return labelled_expand(self._suite, self.secret, label, self.key_schedule_context, length)

    def nonce(self, number: int) -> bytes:
        """Of the message ``number``, from 0; Fanlight sends one."""
        return (int.from_bytes(self.base_nonce, "big") ^ number).to_bytes(12, "big")

    def seal(self, plaintext: bytes, aad: bytes = b"", number: int = 0) -> bytes:
        return self._cipher().encrypt(self.nonce(number), plaintext, aad)

    def open(self, ciphertext: bytes, aad: bytes = b"", number: int = 0) -> bytes:
        return self._cipher().decrypt(self.nonce(number), ciphertext, aad)

    def _cipher(self) -> AESGCM | ChaCha20Poly1305:
        return ChaCha20Poly1305(self.key) if self.aead == 3 else AESGCM(self.key)


def _shared(point: bytes, context: bytes) -> bytes:
    suite = b"KEM" + struct.pack(">H", 0x20)
    return labelled_expand(suite, labelled_extract(suite, b"", b"eae_prk", point), b"shared_secret", context, 32)


def labelled_extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return ref.extract(salt, b"HPKE-v1" + suite + label + secret)


def labelled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return ref.expand(key, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def seal_seed(seed: bytes, receiver: bytes, ephemeral: bytes, label: str, mh: bytes, device: bytes) -> bytes:
    """The ephemeral public key, then seed and tag."""
    return round_key(ephemeral) + Hpke.sender(ephemeral, receiver, ref.cbor([label, mh, device])).seal(seed)


def open_seed(sealed: bytes, secret: bytes, label: str, mh: bytes, device: bytes) -> bytes:
    return Hpke.receiver(sealed[:32], secret, ref.cbor([label, mh, device])).open(sealed[32:])
