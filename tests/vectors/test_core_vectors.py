"""Bytes that Fanlight's arithmetic must produce, for ever.

Published vectors run through the functions that the package itself calls; our own were made once by other programs
(Python's ``hmac`` and ``openssl enc -aes-256-ctr``), annotated by hand. They are NEVER regenerated to make a test
pass: a difference means that this version can no longer take off the masks of another.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from fanlight.core.counter_mode import CounterMode
from fanlight.core.masks import add_mask, derive_mask_key, hkdf_sha256
from fanlight.core.quantise import quantise
from fanlight.core.randomness import Keystream
from fanlight.core.ring import to_ring


def stream(key: bytes, first_block: bytes, count: int) -> bytes:
    out = np.empty(count, dtype=np.uint8)
    CounterMode(key, first_block).fill(out)
    return out.tobytes()


# RFC 5869, appendix A, test cases 1 to 3 (SHA-256): input key, salt, info, output.
HKDF_CASES = {
    "A.1 basic": (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    "A.2 longer inputs": (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        (
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87"
        ),
    ),
    "A.3 no salt, no info": (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
}


@pytest.mark.parametrize("case", HKDF_CASES)
def test_hkdf_gives_the_outputs_of_rfc_5869(case: str) -> None:
    secret, salt, info, expected = (bytes.fromhex(text) for text in HKDF_CASES[case])
    assert hkdf_sha256(secret, salt, info, len(expected)) == expected


def test_hkdf_gives_32_bytes_unless_told_otherwise() -> None:
    secret, salt, info, expected = (bytes.fromhex(text) for text in HKDF_CASES["A.1 basic"])
    assert hkdf_sha256(secret, salt, info) == expected[:32]


def test_counter_mode_encrypts_as_in_sp_800_38a() -> None:
    """NIST SP 800-38A, section F.5.5, CTR-AES256.Encrypt: plaintext xor our stream = ciphertext."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    first_block = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")  # its second increment carries out of the last byte
    plaintext = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172a"  # block 1
        "ae2d8a571e03ac9c9eb76fac45af8e51"  # block 2
        "30c81c46a35ce411e5fbc1191a0a52ef"  # block 3
        "f69f2445df4f9b17ad2b417be66c3710"  # block 4
    )
    ciphertext = bytes.fromhex(
        "601ec313775789a5b7a7f504bbf3d228"
        "f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988d"
        "dfc9c58db67aada613c2dd08457941a6"
    )
    mixed = bytes(a ^ b for a, b in zip(plaintext, stream(key, first_block, 64), strict=True))
    assert mixed == ciphertext


# One mask, in full.
SEED = bytes(range(0x20))
SALT = bytes(range(0x20, 0x40))  # in the protocol: the manifest's hash
INFO = b"mask-main"  # in the protocol: an encoded label with the device id
MASK_KEY = bytes.fromhex("253dc2b21ffd0cd915769ccfbac15f98432cbe962bef8fc89edb658aa2685504")


def test_mask_key_of_a_fixed_seed() -> None:
    # HMAC(SALT, SEED) = a27b86e7 a70a029c ba778d6f 738d9526 96d6d836 1b95103d d84ae9df 6af063af, the extracted key;
    # the mask key is HMAC(that, INFO || 01).
    assert derive_mask_key(SEED, SALT, INFO) == MASK_KEY


def test_first_words_of_a_fixed_mask() -> None:
    expected = bytes.fromhex(
        "3eadbf23 9edd2a81 ba015017 ae6210f3"  # AES(key, counter 0): words 0 to 3, each little-endian
        "5f79ee0c 213a4a70 f221c609 69049e4a"  # AES(key, counter 1): words 4 to 7
        "e5dd2e30 6ead1a7e 61b3bf50 e64c2de6"  # AES(key, counter 2): words 8 to 11
    )
    vector = np.zeros(12, dtype=np.uint32)
    add_mask(vector, MASK_KEY)
    assert vector[0] == 0x23BFAD3E
    assert vector.astype("<u4").tobytes() == expected


def test_a_mask_is_one_stream_over_the_whole_vector() -> None:
    """A MiB of mask: longer than the pieces in which it is made, none of which may start afresh."""
    vector = np.zeros(1 << 18, dtype=np.uint32)
    add_mask(vector, MASK_KEY)
    masked = vector.astype("<u4").tobytes()
    assert masked[524272:524304] == bytes.fromhex(
        "82220a6f 555e6f3c 9ce236ad 96174b09"  # counter 32767
        "37006652 9bcaf6fc 10fe163b 713502b1"  # counter 32768
    )
    digest = hashlib.sha256(masked).hexdigest()
    assert digest == "a6e659411824d62db4b822d3dd861c8faf5fde92a386da3eb5faee4c98396905"


def test_a_masked_vector() -> None:
    vector = to_ring(np.array([0, 1, -1, 2**31 - 1], dtype=np.int64), 32)
    add_mask(vector, MASK_KEY)
    assert [hex(word) for word in vector.tolist()] == [
        "0x23bfad3e",  # 23bfad3e + 0
        "0x812add9f",  # 812add9e + 1
        "0x175001b9",  # 175001ba + ffffffff
        "0x731062ad",  # f31062ae + 7fffffff
    ]


def test_the_counter_is_a_128_bit_big_endian_number() -> None:
    low_half_full = bytes(8) + b"\xff" * 8
    assert stream(MASK_KEY, low_half_full, 32) == bytes.fromhex(
        "3deb3d56 673a4e30 4f4dcdff 3c95c4b9"  # counter 00…00 ff…ff
        "af6b1040 213c74e2 dcd5453b 5453f8a5"  # counter 00…01 00…00: the carry reaches the upper half
    )
    assert stream(MASK_KEY, b"\xff" * 16, 32) == bytes.fromhex(
        "bf8cac8f 76a2ee11 87074256 85583ce1"  # counter ff…ff
        "3eadbf23 9edd2a81 ba015017 ae6210f3"  # counter 00…00 again
    )


# The generator that is injected everywhere.
def test_first_bytes_and_words_of_the_generator() -> None:
    expected = bytes.fromhex("f29000b6 2a499fd0 a9f39a6a dd2e7780")  # AES(SEED, counter 0)
    assert Keystream(SEED).bytes(16) == expected
    assert Keystream(SEED).uint32(2).tolist() == [0xB60090F2, 0xD09F492A]


def test_stochastic_rounding_of_a_fixed_seed() -> None:
    """Words of the generator as fractions of 2^32: .711 .815 .416 .502 .682 .898; up if fraction + word reaches 1."""
    x = np.array([0.25, 0.125, -0.25, 3.0, -0.4, 9.0])
    expected = [
        1,  # 1.0: an integer stays
        1,  # 0.5 + .815 = 1.315
        -1,  # -1.0: an integer stays
        12,  # 12.0: an integer stays
        -1,  # -1.6 + .682 = -0.918
        20,  # 36.0, cut off at 20
    ]
    assert quantise(x, Fraction(4), -20, 20, Keystream(SEED)).tolist() == expected
