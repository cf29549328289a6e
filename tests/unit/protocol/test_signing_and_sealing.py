"""Signatures are bound to a key, a purpose and the received bytes; sealed seeds to a key, purpose, round and device."""

from __future__ import annotations

import dataclasses

import pytest

from fanlight.errors import MalformedMessage, MessageTooLarge, NotAuthentic, Refused
from fanlight.protocol import codec, signing
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES, VectorDigest, chunk_hashes, digest, key_id, vector_digest
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed, seal_seed
from fanlight.protocol.signing import Signed
from tests.protocol_world import key, public, round_key, secret

ALICE, BOB = key("alice"), key("bob")
SIGNED = signing.sign(ALICE, "purpose", b"payload")
MH, DEVICE, SEED = secret("mh"), secret("device")[:16], secret("seed")


def test_a_signed_object_survives_the_wire() -> None:
    assert Signed.decode(SIGNED.encode()) == SIGNED
    assert signing.verify_bytes(public(ALICE), "purpose", SIGNED.encode()) == b"payload"


@pytest.mark.parametrize(
    "altered",
    [
        dataclasses.replace(SIGNED, payload=b"payloae"),
        dataclasses.replace(SIGNED, payload=b""),
        dataclasses.replace(SIGNED, key=key_id(public(BOB))),
        dataclasses.replace(SIGNED, key=bytes(16)),
        dataclasses.replace(SIGNED, signature=bytes(64)),
        dataclasses.replace(SIGNED, signature=SIGNED.signature[:-1] + bytes([SIGNED.signature[-1] ^ 1])),
        signing.sign(BOB, "purpose", b"payload"),
        signing.sign(ALICE, "other purpose", b"payload"),
        signing.sign(ALICE, "purpose\x00", b"payload"),
    ],
)
def test_another_key_purpose_or_byte_does_not_verify(altered: Signed) -> None:
    with pytest.raises(NotAuthentic):
        signing.verify(public(ALICE), "purpose", altered)


def test_bytes_that_are_no_key_do_not_verify() -> None:
    for public_key in (b"", bytes(31), b"\xff" * 32):
        with pytest.raises(NotAuthentic):
            signing.verify(public_key, "purpose", dataclasses.replace(SIGNED, key=key_id(public_key)))


@pytest.mark.parametrize(
    "value",
    [
        [b"p", bytes(16)],
        [b"p", bytes(15), bytes(64)],
        [b"p", bytes(16), bytes(63)],
        [b"p", bytes(16), bytes(64), b""],
        ["p", bytes(16), bytes(64)],
        {1: b"p", 2: bytes(16), 3: bytes(64)},
        b"p",
    ],
)
def test_what_is_no_signed_object_is_refused(value: codec.Value) -> None:
    with pytest.raises(MalformedMessage):
        Signed.decode(codec.encode(value))


def test_the_limit_holds_for_signed_objects() -> None:
    with pytest.raises(MessageTooLarge):
        signing.verify_bytes(public(ALICE), "purpose", SIGNED.encode(), limit=50)


def test_a_sealed_seed_opens_for_its_server() -> None:
    sealed = seal_seed(SEED, public(round_key("m")), MASK_MAIN, MH, DEVICE)
    assert len(sealed) == 80
    assert open_seed(sealed, round_key("m"), MASK_MAIN, MH, DEVICE) == SEED


def test_sealing_twice_gives_other_bytes() -> None:
    first, second = (seal_seed(SEED, public(round_key("m")), MASK_MAIN, MH, DEVICE) for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("server", "label", "mh", "device"),
    [
        ("a", MASK_MAIN, MH, DEVICE),
        ("m", MASK_AGGREGATOR, MH, DEVICE),
        ("m", MASK_MAIN, bytes(32), DEVICE),
        ("m", MASK_MAIN, MH, bytes(16)),
    ],
)
def test_a_sealed_seed_opens_for_nothing_else(server: str, label: str, mh: bytes, device: bytes) -> None:
    sealed = seal_seed(SEED, public(round_key("m")), MASK_MAIN, MH, DEVICE)
    with pytest.raises(NotAuthentic) as caught:
        open_seed(sealed, round_key(server), label, mh, device)
    assert caught.value.slug == "seed-unopenable"


@pytest.mark.parametrize("sealed", [b"", bytes(31), bytes(80), bytes(79), b"\xff" * 80])
def test_rubbish_does_not_open(sealed: bytes) -> None:
    with pytest.raises(NotAuthentic):
        open_seed(sealed, round_key("m"), MASK_MAIN, MH, DEVICE)


def test_any_changed_byte_keeps_it_shut() -> None:
    sealed = seal_seed(SEED, public(round_key("m")), MASK_MAIN, MH, DEVICE)
    for at in range(80):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises(NotAuthentic):
            open_seed(bytes(altered), round_key("m"), MASK_MAIN, MH, DEVICE)


def test_a_seed_of_another_length_is_refused_when_opened() -> None:
    sealed = seal_seed(b"short", public(round_key("m")), MASK_MAIN, MH, DEVICE)
    with pytest.raises(NotAuthentic, match="32 bytes"):
        open_seed(sealed, round_key("m"), MASK_MAIN, MH, DEVICE)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_nothing_is_sealed_to_a_point_of_small_order(point: bytes) -> None:
    with pytest.raises(Refused) as caught:
        seal_seed(SEED, point, MASK_MAIN, MH, DEVICE)
    assert caught.value.slug == "bad-round-key"


def test_mask_keys_differ_by_purpose_round_device_and_seed() -> None:
    keys = {
        mask_key(SEED, MASK_MAIN, MH, DEVICE),
        mask_key(SEED, MASK_AGGREGATOR, MH, DEVICE),
        mask_key(SEED, MASK_MAIN, bytes(32), DEVICE),
        mask_key(SEED, MASK_MAIN, MH, bytes(16)),
        mask_key(bytes(32), MASK_MAIN, MH, DEVICE),
    }
    assert len(keys) == 5


def test_a_digest_keeps_its_parts_apart() -> None:
    assert len({digest("a", b"bc"), digest("ab", b"c"), digest("a", b"b", b"c"), digest("a", [b"b", b"c"])}) == 4


@pytest.mark.parametrize("cut", [1, 1000, VECTOR_CHUNK_BYTES - 1, VECTOR_CHUNK_BYTES, VECTOR_CHUNK_BYTES + 1])
def test_a_vector_digest_does_not_depend_on_the_cuts(cut: int) -> None:
    data = bytes(range(256)) * (5 * VECTOR_CHUNK_BYTES // 512) + b"tail"
    whole = VectorDigest()
    for piece in (data[:cut], data[cut : cut + 7], b"", data[cut + 7 :]):
        whole.update(piece)
    assert whole.digest() == vector_digest(data)
    assert whole.chunks() == chunk_hashes(memoryview(data))


def test_a_vector_digest_sees_length_content_and_order() -> None:
    chunk = bytes(VECTOR_CHUNK_BYTES)
    other = b"\x01" + chunk[1:]
    vectors = [b"", b"\0", chunk, chunk + b"\0", chunk + chunk, chunk + other, other + chunk]
    assert len({vector_digest(vector) for vector in vectors}) == len(vectors)
    empty = VectorDigest()
    assert empty.digest() == vector_digest(b"")
