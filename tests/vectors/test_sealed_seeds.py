"""Sealed seeds open; what must not open does not; and other implementations of HPKE and ours open each other's.

``cryptography`` draws the ephemeral key itself, so our own functions cannot seal the same bytes twice: the files' are
opened, never sealed again.
"""

from __future__ import annotations

from typing import Protocol

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId

from fanlight.errors import NotAuthentic
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, open_seed, seal_seed
from tests.vectors import reference, reference_sealing
from tests.vectors.files import Case, load

CASES = load("v1/sealed_seeds")
WHERE = ("label", "mh", "device")
SECRET, SEED = bytes(range(100, 132)), bytes(range(32))
MH, DEVICE = b"\x33" * 32, b"\x44" * 16


class Hpke(Protocol):
    """An implementation that seals to a public key and opens with a secret one, given ``info``."""

    def seal(self, seed: bytes, receiver: bytes, info: bytes) -> bytes: ...

    def open(self, sealed: bytes, secret: bytes, info: bytes) -> bytes: ...


class ByPyhpke:
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)

    def seal(self, seed: bytes, receiver: bytes, info: bytes) -> bytes:
        enc, context = self.suite.create_sender_context(self.suite.kem.deserialize_public_key(receiver), info)
        return enc + context.seal(seed)

    def open(self, sealed: bytes, secret: bytes, info: bytes) -> bytes:
        private = self.suite.kem.deserialize_private_key(secret)
        return self.suite.create_recipient_context(sealed[:32], private, info).open(sealed[32:])


class ByHand:
    def seal(self, seed: bytes, receiver: bytes, info: bytes) -> bytes:
        ephemeral = X25519PrivateKey.generate().private_bytes_raw()
        return reference_sealing.round_key(ephemeral) + reference_sealing.Hpke.sender(ephemeral, receiver, info).seal(
            seed
        )

    def open(self, sealed: bytes, secret: bytes, info: bytes) -> bytes:
        return reference_sealing.Hpke.receiver(sealed[:32], secret, info).open(sealed[32:])


OTHERS: list[Hpke] = [ByPyhpke(), ByHand()]


def key(secret: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(secret)


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.expected], ids=lambda case: case.name)
def test_a_sealed_seed_opens(case: Case) -> None:
    secret, sealed = case.given["round_secret"], case.given["sealed"]
    where = [case.given[name] for name in WHERE]
    info, seed = case.expected["info"], case.expected["seed"]
    assert reference.cbor(where) == info
    assert open_seed(sealed, key(secret), *where) == seed
    assert [other.open(sealed, secret, info) for other in OTHERS] == [seed, seed]


def test_sealing_step_by_step() -> None:
    given, expected = CASES["to the aggregator"].given, CASES["to the aggregator"].expected
    where = [given[name] for name in WHERE]
    sender = reference_sealing.Hpke.sender(given["ephemeral_secret"], expected["round_key"], expected["info"])
    assert reference_sealing.round_key(given["round_secret"]) == expected["round_key"]
    for step in ("shared_secret", "key_schedule_context", "secret", "key", "base_nonce"):
        assert getattr(sender, step) == expected[step]
    again = reference_sealing.seal_seed(expected["seed"], expected["round_key"], given["ephemeral_secret"], *where)
    assert again == given["sealed"]


@pytest.mark.parametrize("case", [case for case in CASES.values() if not case.expected], ids=lambda case: case.name)
def test_what_must_not_open(case: Case) -> None:
    secret, sealed = case.given["round_secret"], case.given["sealed"]
    where = [case.given[name] for name in WHERE]
    with pytest.raises(NotAuthentic):
        open_seed(sealed, key(secret), *where)
    if case.name == "33 bytes inside":
        assert len(reference_sealing.open_seed(sealed, secret, *where)) == 33
    else:
        with pytest.raises(InvalidTag):
            reference_sealing.open_seed(sealed, secret, *where)


@pytest.mark.parametrize("label", [MASK_MAIN, MASK_AGGREGATOR])
@pytest.mark.parametrize("other", OTHERS, ids=lambda other: type(other).__name__)
def test_other_implementations_and_ours_open_each_others(other: Hpke, label: str) -> None:
    info = reference.cbor([label, MH, DEVICE])
    receiver = reference_sealing.round_key(SECRET)
    ours = seal_seed(SEED, receiver, label, MH, DEVICE)
    theirs = other.seal(SEED, receiver, info)
    assert len(ours) == len(theirs) == 80
    assert other.open(ours, SECRET, info) == SEED
    assert open_seed(theirs, key(SECRET), label, MH, DEVICE) == SEED


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: type(other).__name__)
def test_what_others_sealed_for_another_round_does_not_open(other: Hpke) -> None:
    sealed = other.seal(SEED, reference_sealing.round_key(SECRET), reference.cbor([MASK_MAIN, MH, DEVICE]))
    with pytest.raises(NotAuthentic):
        open_seed(sealed, key(SECRET), MASK_MAIN, bytes(32), DEVICE)
