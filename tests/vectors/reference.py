"""The protocol's arithmetic and bytes once more, for the vectors: written from its text alone.

It imports nothing of Fanlight, and goes another way wherever there is one: CBOR and HPKE (``reference_sealing``) by
hand, HKDF from HMAC, the counter mode from single AES blocks, rings and packing on Python's integers. It is slow, and
says no more than it must. What it gives was written into ``v1`` once; it is never used to write those files again.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Segment: TypeAlias = Sequence[Any]
"""[kind, length, bits, scale numerator, scale denominator, lo, hi, rounding]"""

# ---- bytes


def cbor(value: Any) -> bytes:
    """Deterministic CBOR (RFC 8949, section 4.2.1)."""
    match value:
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list() | tuple():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return _head(5, len(value)) + b"".join(cbor(key) + cbor(value[key]) for key in sorted(value))
    raise TypeError(type(value))


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    info = next(info for info in (24, 25, 26, 27) if argument < 1 << (8 << (info - 24)))
    return bytes([major << 5 | info]) + argument.to_bytes(1 << (info - 24), "big")


def message(*fields: Any) -> dict[int, Any]:
    """A message is a map from the positions of its fields, from 1; what is None is absent."""
    return {position: value for position, value in enumerate(fields, start=1) if value is not None}


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digest(label: str, *parts: Any) -> bytes:
    """H([label, part, …])."""
    return sha256(cbor([label, *parts]))


# ---- keys and signatures


def verifying_key(secret: bytes) -> bytes:
    """The Ed25519 public key of a secret one."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def key_id(public_key: bytes) -> bytes:
    return digest("fanlight/key/v1", public_key)[:16]


def signature(secret: bytes, label: str, payload: bytes) -> bytes:
    """Ed25519 over label ‖ 00 ‖ payload."""
    return Ed25519PrivateKey.from_private_bytes(secret).sign(label.encode() + b"\x00" + payload)


def signed(secret: bytes, label: str, payload: bytes) -> bytes:
    """[payload, key id, signature]."""
    return cbor([payload, key_id(verifying_key(secret)), signature(secret, label, payload)])


def extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), secret, "sha256")


def expand(key: bytes, info: bytes, length: int) -> bytes:
    out = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        out += block
    return out[:length]


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """RFC 5869."""
    return expand(extract(salt, secret), info, length)


# ---- masks, rings, packing


def keystream(key: bytes, count: int, first_block: bytes = bytes(16)) -> bytes:
    """AES-256 of the counter blocks; the counter is a 128-bit big-endian number that wraps around."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - of blocks that are all different
    first = int.from_bytes(first_block, "big")
    blocks = (((first + i) % (1 << 128)).to_bytes(16, "big") for i in range(-(-count // 16)))
    return encryptor.update(b"".join(blocks))[:count]


def words(data: bytes) -> list[int]:
    """32 bits each, little-endian."""
    return [number for (number,) in struct.iter_unpack("<I", data)]


def mask_key(seed: bytes, label: str, mh: bytes, device: bytes) -> bytes:
    return hkdf(seed, mh, cbor([label, device]))


def masked(q: Sequence[int], keys: Iterable[bytes], sign: int = 1) -> list[int]:
    """q and all masks (or, with ``sign`` -1, without them) modulo 2^32."""
    streams = [words(keystream(key, 4 * len(q))) for key in keys]
    return [(number + sign * sum(mask)) % (1 << 32) for number, *mask in zip(q, *streams, strict=True)]


def masked_long(q: Sequence[int], keys: Iterable[bytes], sign: int = 1) -> list[int]:
    """The same modulo 2^64, where words of a mask are taken in pairs, the lower half first."""
    rows = [words(keystream(key, 8 * len(q))) for key in keys]
    streams = [[low + (high << 32) for low, high in zip(row[::2], row[1::2], strict=True)] for row in rows]
    return [(number + sign * sum(mask)) % (1 << 64) for number, *mask in zip(q, *streams, strict=True)]


def pack(coordinates: Sequence[int], layout: Sequence[Segment]) -> bytes:
    """Each segment: the low bits of its coordinates, the lowest first, up to a whole 32-bit little-endian word."""
    out, at = b"", 0
    for _kind, length, bits, *_ in layout:
        row = sum((number % (1 << bits)) << (bits * i) for i, number in enumerate(coordinates[at : at + length]))
        out += row.to_bytes(-(-length * bits // 32) * 4, "little")
        at += length
    return out


def unpack(data: bytes, layout: Sequence[Segment]) -> list[int]:
    """The coordinates, each below 2^bits."""
    numbers: list[int] = []
    for _kind, length, bits, *_ in layout:
        size = -(-length * bits // 32) * 4
        row, data = int.from_bytes(data[:size], "little"), data[size:]
        numbers += [(row >> (bits * i)) % (1 << bits) for i in range(length)]
    return numbers


def centred(numbers: Sequence[int], layout: Sequence[Segment]) -> list[int]:
    """From half a ring on, numbers stand for negative ones."""
    widths = [bits for _kind, length, bits, *_ in layout for _ in range(length)]
    halves = [1 << (bits - 1) for bits in widths]
    return [(number + half) % (2 * half) - half for number, half in zip(numbers, halves, strict=True)]


def vector_hash(data: bytes) -> bytes:
    """H([label, length, SHA-256 of each MiB])."""
    return digest("fanlight/vector/v1", len(data), chunk_hashes(data))


def chunk_hashes(data: bytes) -> list[bytes]:
    return [sha256(data[at : at + (1 << 20)]) for at in range(0, len(data), 1 << 20)]


# ---- quantisation


def clip(update: Sequence[float], bound: float) -> tuple[list[float], bool]:
    """Scaled down to L2 norm ``bound`` if it is longer; and was it within."""
    norm = math.sqrt(math.fsum(x * x for x in update))
    return ([*update], True) if norm <= bound else ([x * (bound / norm) for x in update], False)


def quantise(x: Sequence[float], scale: Fraction, lo: int, hi: int, drawn: Sequence[int]) -> list[int]:
    """floor((v + u)/2^32) of 32-bit words u, v = the nearest integer (ties to even) to 2^32 times what is clamped.

    x·scale is a float64 product; all after it is exact.
    """
    steps = [min(max(number * float(scale), lo), hi) for number in x]
    return [(round(Fraction(t) * (1 << 32)) + u) >> 32 for t, u in zip(steps, drawn, strict=True)]


# ---- sets and logs


def tree_head(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_head(leaves[:k]) + tree_head(leaves[k:]))


def audit_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return [*audit_path(index, leaves[:k]), tree_head(leaves[k:])]
    return [*audit_path(index - k, leaves[k:]), tree_head(leaves[:k])]


def set_leaves(reports: Mapping[bytes, bytes]) -> list[bytes]:
    """[device, report id], sorted by device."""
    return [cbor([device, reports[device]]) for device in sorted(reports)]


def set_root(mh: bytes, reports: Mapping[bytes, bytes]) -> bytes:
    return digest("fanlight/set/v1", mh, len(reports), tree_head(set_leaves(reports)))


def log_heads(fid: bytes, role: str, entries: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """h₀, and the head after each entry [type, payload]."""
    heads = [digest("fanlight/log/v1", fid, role)]
    for number, (kind, payload) in enumerate(entries, start=1):
        heads.append(digest("fanlight/log/v1", number, heads[-1], kind, sha256(payload)))
    return heads


# ---- shards


def places(lot: bytes, cohort: Sequence[bytes], count: int) -> list[int]:
    """The shard of each of the cohort: they are sorted by their digests, and dealt out in turn."""
    order = sorted(digest("fanlight/place/v1", lot, device) for device in cohort)
    return [order.index(digest("fanlight/place/v1", lot, device)) % count + 1 for device in cohort]


def summed(drawn: Mapping[bytes, int], count: int, k_min: int, accepted: Iterable[bytes]) -> dict[int, list[bytes]]:
    """Which reports are summed together, by the number of their shard: neighbours join until k_min are there."""
    rows: list[tuple[int, list[bytes]]] = []
    waiting: tuple[int, list[bytes]] | None = None
    for number in range(1, count + 1):
        here = [device for device in accepted if drawn[device] == number]
        name, there = waiting or (number, [])
        waiting = (name, there + here)
        if len(there + here) >= k_min:
            rows.append(waiting)
            waiting = None
    if waiting and rows:
        rows[-1][1].extend(waiting[1])
    elif waiting:
        rows.append(waiting)
    return {name: sorted(devices) for name, devices in rows}
