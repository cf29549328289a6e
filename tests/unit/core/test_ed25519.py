"""Signatures by libsodium are those of OpenSSL, and less is taken for one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

import fanlight
from fanlight.core.ed25519 import is_signed, sign

ORDER = 2**252 + 27742317777372353535851937790883648493
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
NEUTRAL = bytes([1]) + bytes(31)
"""The point that adds nothing: as a key, it has signed everything with itself and zero."""

EIGHTH = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
"""A point of order eight."""


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300))
def test_both_libraries_sign_alike_and_verify_each_other(secret: bytes, message: bytes) -> None:
    private = Ed25519PrivateKey.from_private_bytes(secret)
    public = private.public_key()
    signature = sign(private, message)
    assert signature == private.sign(message)
    public.verify(signature, message)
    assert is_signed(public.public_bytes_raw(), signature, message)


@given(st.binary(max_size=100), st.integers(0, 8 * 64 - 1))
def test_no_bit_of_a_signature_can_be_changed(message: bytes, bit: int) -> None:
    altered = bytearray(sign(KEY, message))
    altered[bit // 8] ^= 1 << bit % 8
    assert not is_signed(PUBLIC, bytes(altered), message)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_no_bit_of_a_message_can_be_changed(message: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, 8 * len(message) - 1))
    altered = bytearray(message)
    altered[bit // 8] ^= 1 << bit % 8
    assert not is_signed(PUBLIC, sign(KEY, message), bytes(altered))


@pytest.mark.parametrize("length", [0, 1, 31, 33, 63, 65, 128])
def test_whatever_has_another_length_is_neither_a_key_nor_a_signature(length: int) -> None:
    assert not is_signed(bytes(length), sign(KEY, b"m"), b"m")
    if length != 64:
        assert not is_signed(PUBLIC, bytes(length), b"m")


def test_where_the_signature_ends_is_no_matter_of_choice() -> None:
    signature = sign(KEY, b"message")
    assert not is_signed(PUBLIC, signature + b"m", b"essage")
    assert not is_signed(PUBLIC, signature[:-1], signature[-1:] + b"message")


def test_s_beyond_the_order_of_the_group_is_refused() -> None:
    signature = sign(KEY, b"m")
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not is_signed(PUBLIC, signature[:32] + s.to_bytes(32, "little"), b"m")


def test_a_key_of_small_order_which_would_have_signed_everything_is_refused() -> None:
    for message in (b"one", b"another"):
        Ed25519PublicKey.from_public_bytes(NEUTRAL).verify(NEUTRAL + bytes(32), message)
        assert not is_signed(NEUTRAL, NEUTRAL + bytes(32), message)


@pytest.mark.parametrize("number", range(8))
def test_the_cofactor_does_not_count(number: int) -> None:
    """With it, signatures under a key with a point of order eight would be valid for one library and not for the other.

    This guards an upgrade: which rule libsodium follows need not stay the same.
    """
    message, secret, nonce = bytes([number]), scalar(b"secret"), scalar(b"nonce")
    public, r = (crypto_scalarmult_ed25519_base_noclamp(each) for each in (secret, nonce))
    for key, point in ((crypto_core_ed25519_add(public, EIGHTH), r), (public, crypto_core_ed25519_add(r, EIGHTH))):
        hashed = int.from_bytes(hashlib.sha512(point + key + message).digest(), "little") % ORDER
        s = (int.from_bytes(nonce, "little") + hashed * int.from_bytes(secret, "little")) % ORDER
        signature = point + s.to_bytes(32, "little")
        valid = point == r and hashed % 8 == 0
        assert is_signed(key, signature, message) == valid
        assert by_the_other(key, signature, message) == valid


def scalar(name: bytes) -> bytes:
    return (int.from_bytes(hashlib.sha512(name).digest(), "little") % ORDER).to_bytes(32, "little")


def by_the_other(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_another_keys_signature_is_none() -> None:
    assert not is_signed(PUBLIC, sign(Ed25519PrivateKey.generate(), b"m"), b"m")


def test_nobody_else_asks_the_other_library() -> None:
    asks = re.compile(r"Ed25519PublicKey|InvalidSignature|(?<!\bsigning|\bed25519)(?<!\bself)(?<!\bnp)\.sign\(")
    sources = Path(fanlight.__path__[0]).rglob("*.py")
    assert [path.name for path in sources if asks.search(path.read_text("utf-8"))] == []
