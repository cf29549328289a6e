"""Published vectors through the functions that Fanlight calls, and through the reference that its own come from."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKeyPair

from fanlight.core import ed25519
from fanlight.core.counter_mode import CounterMode
from fanlight.core.masks import hkdf_sha256
from fanlight.errors import MalformedMessage
from fanlight.protocol import codec, signing
from tests.vectors import reference, reference_sealing
from tests.vectors.files import Case, load


def stream(key: bytes, first_block: bytes, count: int) -> bytes:
    out = np.empty(count, dtype=np.uint8)
    CounterMode(key, first_block).fill(out)
    return out.tobytes()


def mixed(data: bytes, mask: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, mask, strict=True))


@pytest.mark.parametrize("case", load("published/rfc_5869_hkdf").values(), ids=lambda case: case.name)
def test_hkdf(case: Case) -> None:
    secret, salt, info = (case.given[name] for name in ("secret", "salt", "info"))
    derived = case.expected["derived"]
    assert reference.extract(salt, secret) == case.expected["extracted"]
    assert reference.hkdf(secret, salt, info, len(derived)) == derived
    assert hkdf_sha256(secret, salt, info, len(derived)) == derived
    assert hkdf_sha256(secret, salt, info) == derived[:32]


def test_aes_in_counter_mode() -> None:
    case = load("published/sp_800_38a_aes_ctr")["F.5.5"]
    key, first_block, plaintext = (case.given[name] for name in ("key", "first_block", "plaintext"))
    for keystream in (reference.keystream(key, 64, first_block), stream(key, first_block, 64)):
        assert mixed(plaintext, keystream) == case.expected["ciphertext"]


@pytest.mark.parametrize("case", load("published/rfc_7748_x25519").values(), ids=lambda case: case.name)
def test_x25519(case: Case) -> None:
    secret, public_key = case.given["secret"], case.given["public_key"]
    private = X25519PrivateKey.from_private_bytes(secret)
    assert reference_sealing.x25519(secret, public_key) == case.expected["shared"]
    assert private.exchange(X25519PublicKey.from_public_bytes(public_key)) == case.expected["shared"]
    if own := case.expected.get("own_public_key"):
        assert private.public_key().public_bytes_raw() == reference_sealing.round_key(secret) == own


@pytest.mark.parametrize("case", load("published/rfc_8032_ed25519").values(), ids=lambda case: case.name)
def test_ed25519(case: Case) -> None:
    secret, text = case.given["secret"], case.given["message"]
    public_key, signature = case.expected["public_key"], case.expected["signature"]
    private = Ed25519PrivateKey.from_private_bytes(secret)
    assert signing.raw_public_key(private) == reference.verifying_key(secret) == public_key
    assert ed25519.sign(private, text) == signature
    assert ed25519.is_signed(public_key, signature, text)
    assert not ed25519.is_signed(public_key, signature, text + b"\0")


@pytest.mark.parametrize("case", load("published/rfc_9180_hpke").values(), ids=lambda case: case.name)
def test_hpke_by_hand(case: Case) -> None:
    """The reference, step by step; ``test_sealed_seeds`` holds our own functions, which have no aad, against it."""
    given, expected = case.given, case.expected
    info, aead = given["info"], given["aead"]
    sender = reference_sealing.Hpke.sender(given["ephemeral_secret"], given["receiver_key"], info, aead)
    assert sender == reference_sealing.Hpke.receiver(expected["enc"], given["receiver_secret"], info, aead)
    assert reference_sealing.round_key(given["ephemeral_secret"]) == expected["enc"]
    for step in ("shared_secret", "key_schedule_context", "secret", "key", "base_nonce"):
        assert getattr(sender, step) == expected[step]
    for number, aad, nonce, ciphertext in encryptions(case):
        assert sender.nonce(number) == nonce
        assert sender.seal(given["plaintext"], aad, number) == ciphertext
        assert sender.open(ciphertext, aad, number) == given["plaintext"]


@pytest.mark.parametrize("case", load("published/rfc_9180_hpke").values(), ids=lambda case: case.name)
def test_hpke_by_pyhpke(case: Case) -> None:
    """That the other implementation, against which ours is held, is right in the suites of the RFC and in ours."""
    given = case.given
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId(given["aead"]))
    receiver_key = suite.kem.deserialize_public_key(given["receiver_key"])
    ephemeral = KEMKeyPair(
        suite.kem.deserialize_private_key(given["ephemeral_secret"]),
        suite.kem.deserialize_public_key(case.expected["enc"]),
    )
    enc, sender = suite.create_sender_context(receiver_key, given["info"], eks=ephemeral)
    assert enc == case.expected["enc"]
    receiver = suite.create_recipient_context(
        enc, suite.kem.deserialize_private_key(given["receiver_secret"]), given["info"]
    )
    found = {}
    for number in range(max(given["numbers"]) + 1):  # a context counts by itself
        aad = b"Count-%d" % number
        found[number] = sender.seal(given["plaintext"], aad)
        assert receiver.open(found[number], aad) == given["plaintext"]
    for number, aad, _, ciphertext in encryptions(case):
        assert aad == b"Count-%d" % number
        assert found[number] == ciphertext


def encryptions(case: Case) -> list[tuple[int, bytes, bytes, bytes]]:
    lists = (case.given["numbers"], case.given["aads"], case.expected["nonces"], case.expected["ciphertexts"])
    return list(zip(*lists, strict=True))


@pytest.mark.parametrize("case", load("published/rfc_8949_cbor").values(), ids=lambda case: case.name)
def test_cbor(case: Case) -> None:
    value, encoded = case.given["value"], case.expected["encoded"]
    assert codec.encode(value) == reference.cbor(value) == encoded
    decoded = codec.decode(encoded)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    "case",
    [*load("published/rfc_8949_cbor_refused").values(), *load("v1/encoding").values()],
    ids=lambda case: case.given["encoded"].hex() or "nothing",
)
def test_cbor_that_has_no_place(case: Case) -> None:
    with pytest.raises(MalformedMessage):
        codec.decode(case.given["encoded"])
